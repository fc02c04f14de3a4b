import pytest

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.policy import MIN_FREE
from ariacluster.wire.requests import SettingsPatch
from ariacluster.wire.resources import SettingsResource
from ariacluster_node.services.policy import MAX_ORIGINS, Policies
from tests.support.fake_site import FakeSite


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("mn")
    return site


@pytest.fixture(params=["m", "n"], ids=["leader", "follower"])
def policies(site: FakeSite, request: pytest.FixtureRequest) -> Policies:
    return site.nodes[request.param].services.policies


async def test_only_what_is_named_is_changed(site: FakeSite, policies: Policies) -> None:
    assert policies.show() == SettingsResource(
        strategy="least_loaded", origin_connections=0, origin_limits={}, min_free=MIN_FREE
    )
    assert (await policies.change(SettingsPatch(strategy="tags", min_free=5))).strategy == "tags"
    told = await policies.change(SettingsPatch(origin_connections=9))
    assert told == SettingsResource(strategy="tags", origin_connections=9, origin_limits={}, min_free=5)
    await site.settled()
    assert all(node.services.policies.show() == told for node in site.nodes.values())
    last = site.consensus.last
    assert await policies.change(SettingsPatch(strategy="tags")) == await policies.change(SettingsPatch()) == told
    assert site.consensus.last == last, "what is so already needs no entry of the log"


async def test_limits_of_origins_are_set_one_by_one(policies: Policies) -> None:
    await policies.change(SettingsPatch(origin_limits={"B.Example": 2, "a.example:8080": 3, "[fd00::1]:81": 1}))
    told = await policies.change(SettingsPatch(origin_limits={"b.example": None, "nobody": None, "[::1]": 0}))
    assert told.origin_limits == {"[::1]": 0, "[fd00::1]:81": 1, "a.example:8080": 3}


async def test_an_unknown_strategy_is_told_which_there_are(policies: Policies) -> None:
    with pytest.raises(InvalidInput, match="least_loaded, round_robin, random, tags") as caught:
        await policies.change(SettingsPatch(strategy="best", origin_connections=3))
    assert caught.value.field == "strategy"
    assert policies.show().origin_connections == 0, "nothing half-applied"


@pytest.mark.parametrize(
    "origin", ["", "http://a", "a/b", "a:b", "a:99999", "a:", "u@h", "a?b", "a b", "[::1", "a\x00", "h" * 256]
)
async def test_what_is_no_server_is_refused(policies: Policies, origin: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await policies.change(SettingsPatch(origin_limits={origin: 3}))
    assert caught.value.field is not None
    assert caught.value.field.startswith("origin_limits.")


async def test_the_longest_list_fits_an_entry_of_the_log_and_no_longer_one_is_taken(policies: Policies) -> None:
    longest: dict[str, int | None] = {f"{n:0255d}": 1_000_000 for n in range(MAX_ORIGINS)}
    assert len((await policies.change(SettingsPatch(origin_limits=longest))).origin_limits) == MAX_ORIGINS
    with pytest.raises(InvalidInput) as caught:
        await policies.change(SettingsPatch(origin_limits={"one.more": 1}))
    assert caught.value.field == "origin_limits"


async def test_retries_times_and_slots_are_the_clusters(policies: Policies) -> None:
    patch = SettingsPatch(
        max_attempts=9, retry_pause=0.5, retry_pause_longest=60, node_timeout=5, forget_after=100, slots=8
    )
    told = await policies.change(patch)
    assert (told.max_attempts, told.retry_pause, told.retry_pause_longest) == (9, 0.5, 60)
    assert (told.node_timeout, told.forget_after, told.slots) == (5, 100, 8)
    back = await policies.change(
        SettingsPatch(max_attempts=None, retry_pause=None, node_timeout=None, forget_after=None, slots=None)
    )
    assert (back.max_attempts, back.retry_pause, back.retry_pause_longest) == (5, 2, 60)
    assert (back.node_timeout, back.forget_after, back.slots) == (None, None, None)


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        (SettingsPatch(retry_pause=301), "retry_pause"),
        (SettingsPatch(retry_pause_longest=1), "retry_pause_longest"),
        (SettingsPatch(retry_pause=9, retry_pause_longest=8), "retry_pause"),
    ],
)
async def test_a_first_pause_longer_than_the_longest_is_refused(
    policies: Policies, patch: SettingsPatch, field: str
) -> None:
    with pytest.raises(InvalidInput, match="longer than the longest") as caught:
        await policies.change(patch)
    assert caught.value.field == field
