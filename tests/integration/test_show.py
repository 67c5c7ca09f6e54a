"""What runs and clients show of themselves in a notebook, of a real scheduler."""

import time

import ray

import raysched as rs
from support import kill_actor, until


def test_a_run_shows_its_state_progress_lines_and_end(client):
    @rs.job(name="shown", params={"text": "<b>"})
    def shown(text: str = "", go: str = ""):
        import os

        rs.current().progress(3, 10)
        print("one <script>alert(1)</script>")
        while not os.path.exists(go):
            time.sleep(0.02)
        raise ValueError("<i>boom")

    go = client.home / "go-on"
    client.deploy(shown)
    run = client.trigger("shown", go=str(go))
    until(lambda: "running for" in repr(run) and "3 of 10 (30%)" in repr(run))
    until(lambda: "one &lt;script&gt;" in run._repr_html_())
    assert "3 of 10 (30%)" in run._repr_html_()
    assert "shown" in client._repr_html_()
    go.touch()
    run.wait(60)
    assert repr(run).startswith(f"<Run {run.id} failed after ")
    assert repr(run).endswith(": ValueError: <i>boom>")
    until(lambda: "one &lt;script&gt;" in run._repr_html_())
    page = run._repr_html_()
    assert "ValueError: &lt;i&gt;boom" in page
    assert "<i>" not in page
    until(lambda: ">failed</b>" in client._repr_html_())
    assert " jobs" in repr(client)


def test_a_repr_neither_hangs_nor_raises_while_the_scheduler_is_gone(client):
    @rs.job(name="shown-later", num_gpus=64)
    def later(): ...

    client.deploy(later)
    run = client.trigger("shown-later")
    assert " queued" in repr(run)
    kill_actor(client, "Scheduler")
    begin = time.monotonic()
    texts = [repr(run), run._repr_html_(), repr(client), client._repr_html_()]
    assert time.monotonic() - begin < 12  # at most 2 s for each look
    assert run.id in texts[0]
    assert all(texts)
    until(lambda: " queued" in repr(run))
    run.cancel()
    assert run.wait(60).status == "cancelled"
    assert ray.is_initialized()
