"""Two programs that start at once do not choose the same port."""

from services.runtime.embedded.ports import HeldPorts, free_ports


def test_a_port_that_one_holds_is_not_taken_by_another_until_it_is_given_up() -> None:
    (wanted,) = free_ports(1)
    first, second = HeldPorts(), HeldPorts()
    assert first.take([wanted]) == wanted
    assert second.take([wanted]) != wanted
    first.release()
    assert second.take([wanted]) == wanted
    second.release()
