import pytest

from yolact.config.training import TrainingConfig
from yolact.errors import UsageError
from yolact.training.schedule import Schedule


def schedule(steps_per_epoch=10, **settings):
    return Schedule.from_config(TrainingConfig(**settings), steps_per_epoch)


class TestLength:
    def test_epochs_are_passes_over_the_images(self):
        assert schedule(epochs=2.5).total_steps == 25

    @pytest.mark.parametrize(("batch_size", "steps"), [(8, 800_000), (16, 400_000), (4, 1_600_000)])
    def test_steps_are_stated_for_a_batch_of_eight(self, batch_size, steps):
        assert schedule(steps=800_000, batch_size=batch_size).total_steps == steps

    def test_a_run_has_a_length(self):
        with pytest.raises(UsageError, match="needs a length"):
            schedule()

    def test_progress_is_the_larger_share(self):
        both = schedule(epochs=10, max_time="00:01:40")
        assert both.progress(25, 10) == 0.25
        assert both.progress(25, 50) == 0.5
        assert both.progress(999, 999) == 1.0
        assert schedule(max_time="00:01:40").progress(10**9, 10) == 0.1


class TestLearningRate:
    def test_the_published_schedule(self):
        # Spec 5.6: warm-up from 1e-4 over 500 steps; times 0.1 at 280k, 600k, 700k, 750k of 800k.
        paper = schedule(steps=800_000)

        def rate(step):
            return paper.learning_rate(step, paper.progress(step, 0))

        assert rate(0) == pytest.approx(1e-4)
        assert rate(250) == pytest.approx(5.5e-4)
        assert rate(500) == pytest.approx(1e-3)
        assert rate(279_999) == pytest.approx(1e-3)
        assert rate(280_000) == pytest.approx(1e-4)
        assert rate(600_000) == pytest.approx(1e-5)
        assert rate(700_000) == pytest.approx(1e-6)
        assert rate(750_000) == pytest.approx(1e-7)

    def test_scales_with_the_batch(self):
        assert schedule(steps=10, batch_size=16).learning_rate(500, 0.0) == pytest.approx(2e-3)

    def test_cosine_goes_down_to_a_hundredth(self):
        cosine = schedule(epochs=1, schedule="cosine", warmup_steps=0, learning_rate=2.0)
        assert cosine.learning_rate(0, 0.0) == pytest.approx(2.0)
        assert cosine.learning_rate(0, 0.5) == pytest.approx(1.01)
        assert cosine.learning_rate(0, 1.0) == pytest.approx(0.02)


class TestValidations:
    def test_evenly_over_the_run(self):
        ten = schedule(epochs=2, validations=4)
        assert [ten.validations_due(s, ten.progress(s, 0)) for s in (0, 4, 5, 10, 19)] == [
            0,
            0,
            1,
            2,
            3,
        ]

    @pytest.mark.parametrize(("epochs", "steps"), [(1, 10), (0.5, 5), (0.01, 1), (2.5, 25)])
    def test_every_so_many_epochs(self, epochs, steps):
        by_epochs = schedule(epochs=100, validate_every=epochs, validations=3)
        assert by_epochs.validations_due(steps - 1, 0.0) == 0
        assert by_epochs.validations_due(steps, 0.0) == 1
        assert by_epochs.validations_due(7 * steps, 1.0) == 7


class TestClosing:
    def test_by_steps_it_depends_on_the_step_alone(self):
        run = schedule(epochs=10, closing=0.25)
        assert not run.is_closing(74, 10**9)
        assert run.is_closing(75, 0)

    def test_by_the_clock(self):
        run = schedule(max_time="00:01:40", closing=0.25)
        assert not run.is_closing(10**9, 74.9)
        assert run.is_closing(0, 75)

    def test_all_or_nothing(self):
        assert schedule(epochs=10, closing=1.0).is_closing(0, 0)
        assert not schedule(epochs=10, closing=0.0).is_closing(99, 0)
