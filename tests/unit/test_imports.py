import subprocess
import sys


def test_importing_the_package_does_nothing_heavy():
    probe = "import sys, yolact, yolact.config.presets; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
