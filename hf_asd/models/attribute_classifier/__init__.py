"""An encoder with a head over machine attributes."""
