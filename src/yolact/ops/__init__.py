"""Pure tensor and array functions: no modules, no state, no configuration."""
