"""The simulated output tells the story of its calls, and both outputs are Signals."""

from __future__ import annotations

import pytest
from plc_desk import inspection

from inspector.signalling.modbus import ModbusSignal
from inspector.signalling.signal import Signal, StationState
from inspector.signalling.simulated import Closed, Published, SimulatedSignal, Started, StationSet


def test_calls_are_kept_in_order() -> None:
    signal = SimulatedSignal()
    one, two = inspection(1), inspection(2)
    signal.start()
    signal.set_station("st1", StationState.READY, "tiles", "tiles@0123456789ab", ["crack"])
    signal.publish(one)
    signal.publish(two)
    signal.set_station("st1", StationState.STOPPING)
    signal.close()
    assert signal.calls == [
        Started(),
        StationSet("st1", StationState.READY, "tiles", "tiles@0123456789ab", ("crack",)),
        Published(one),
        Published(two),
        StationSet("st1", StationState.STOPPING, None, None, ()),
        Closed(),
    ]
    assert signal.published == [one, two]
    assert signal.state("st1") is StationState.STOPPING


def test_a_station_never_told_is_not_ready() -> None:
    assert SimulatedSignal().state("st1") is StationState.NOT_READY


@pytest.mark.parametrize(
    "signal",
    [
        pytest.param(SimulatedSignal(), id="simulated"),
        pytest.param(ModbusSignal("127.0.0.1", 0, {"st1": 1}), id="modbus"),
    ],
)
def test_every_output_works_through_the_protocol(signal: Signal) -> None:
    signal.start(lambda: True)
    signal.set_station("st1", StationState.READY)
    signal.publish(inspection(1))
    signal.close()
