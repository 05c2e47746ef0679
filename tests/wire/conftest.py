"""Hypothesis without clocks: a machine that others use is slow at times, and that is no finding."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("mirror-run", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mirror-run")
