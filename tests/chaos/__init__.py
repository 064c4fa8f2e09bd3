"""Faults on real processes: every row of the list of faults is a test here, then comes the storm.

How to write a row
==================

A row is a function ``test_row_07_a_frozen_broker(house, traffic, prove)`` in the module of its
theme, and its line in ``rows.py`` is not pending any more. It asks for something, lets the fault
strike, proves that it struck, waits until all is at rest, and judges::

    def test_row_01_dispatch_killed_before_a_claim(
        house: House, traffic: Traffic, prove: Prove
    ) -> None:
        dispatch = house["dispatch"]
        dispatch.hooks.arm("before_claim")             # SIGKILL itself, at that very point
        traffic.ask(reset("ann"), reset("bob"))
        dispatch.until_ended()
        assert dispatch.hooks.hit("before_claim")
        prove("SIGKILL at the hook before_claim")      # without it the test fails
        dispatch.start()
        traffic.judge().assert_kept()

The parts
---------

``house``     ``House``: Kafka, PostgreSQL, the sandbox and the services, each process an
              ``Instance`` (``house["dispatch"]``, ``house["dispatch-2"]``) that can be killed,
              paused, stopped and started, with another environment if need be. What is named with
              a number above 1 does not run until a row starts it. Mended after each test.
``.kafka``, ``.postgres``, ``.providers["postmark"]``
              the instance's own ``Proxy`` on each of its connections: cut, hold, drop, drip, delay.
``.hooks``    ``Hooks``: named points in its code at which it crashes or stops itself.
``traffic``   ``Traffic``: asks over HTTP and through Kafka, knows what was acknowledged, and
              ``judge``s what became of it by the sandbox's ledger, the log and the tables.
``control``   the sandbox's own faults: ``house.sandbox(lambda c: c.set_faults(...))``.
``prove``     takes the sentence that goes into ``reports/chaos.json``; a row without one failed.
``until``     waits for a condition; there is no other waiting.

A row that holds on both group protocols takes the fixture ``either_house`` instead of ``house``.
A row that needs another house (three brokers, say) builds it with ``House(HousePlan(...))``.
What takes more than a few seconds is marked ``slow``: the others are part of ``make test``.
"""
