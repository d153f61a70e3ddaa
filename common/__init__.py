"""The ground floor: what every other package stands on, and which imports none of them."""

from common.process import telemetry

telemetry.switch_off()
