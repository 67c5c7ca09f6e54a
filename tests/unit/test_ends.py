"""Who waits for the end of a run hears of it: as it comes, or soon after."""

import asyncio

from raysched.cluster.ends import Ends


async def _yes():
    return True


async def _no():
    return False


def row(run_id, **more):
    return {"run_id": run_id, "status": "succeeded", "attempts": 1, **more}


def test_an_end_is_heard_as_it_comes():
    async def story():
        ends = Ends()
        waits = [asyncio.create_task(ends.wait("a", _yes, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.to_thread(ends.tell, [row("b"), row("a")])
        return await asyncio.gather(*waits)

    assert asyncio.run(story()) == [row("a"), row("a")]


def test_an_end_is_heard_that_comes_while_it_is_asked_for():
    async def story():
        ends = Ends()

        async def ended_meanwhile():
            await asyncio.to_thread(ends.tell, [row("a", large="x" * 1_000_000)])
            return False

        return await ends.wait("a", ended_meanwhile, 10)

    assert asyncio.run(story())["run_id"] == "a"


def test_an_end_is_known_for_a_while():
    ends = Ends()
    ends.tell([row(str(n)) for n in range(1_100)])
    assert asyncio.run(ends.wait("1099", _no, 10)) == row("1099")
    assert asyncio.run(ends.wait("100", _no, 10)) == row("100")
    assert asyncio.run(ends.wait("99", _no, 10)) is None


def test_large_ends_do_not_pile_up():
    ends = Ends()
    ends.tell([row("a")])
    ends.tell([row("a", result_json="x" * 64 * 1024)])
    assert asyncio.run(ends.wait("a", _no, 10)) is None


def test_a_run_that_goes_on_is_not_over():
    ends = Ends()
    ends.tell([row("a")])  # of a life before
    assert asyncio.run(ends.wait("a", _yes, 0.01)) is None
