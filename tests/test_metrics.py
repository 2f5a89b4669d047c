from prometheus_client.parser import text_string_to_metric_families

from app.metrics import Metrics, TranslationCounts
from app.translation.mending import Remedy


def samples(content: bytes) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(content.decode()):
        for sample in family.samples:
            found[" ".join([sample.name, *sample.labels.values()])] = sample.value
    return found


def test_every_count_is_told_in_prometheus_own_format() -> None:
    counts = TranslationCounts(hits=6, shared=1, misses=3, calls=2)
    counts.remedies[Remedy.BETWEEN_MASKS] = 4
    counts.remedies['of "another"\nkind'] = 5
    content, content_type = Metrics(counts).exposition()
    assert content_type.startswith("text/plain; version=")
    assert samples(content) == {
        "flarelay_translation_units_total cache": 6,
        "flarelay_translation_units_total shared": 1,
        "flarelay_translation_units_total engine": 3,
        "flarelay_translation_calls_total": 2,
        "flarelay_translation_hit_ratio": 0.7,
        "flarelay_translation_remedies_total between-masks": 4,
        'flarelay_translation_remedies_total of "another"\nkind': 5,
    }


def test_every_family_says_what_it_is() -> None:
    content, _ = Metrics().exposition()
    families = list(text_string_to_metric_families(content.decode()))
    assert [(family.name, family.type) for family in families] == [
        ("flarelay_translation_units", "counter"),
        ("flarelay_translation_calls", "counter"),
        ("flarelay_translation_hit_ratio", "gauge"),
        ("flarelay_translation_remedies", "counter"),
    ]
    assert all(family.documentation for family in families)


def test_where_nothing_was_asked_for_nothing_was_hit() -> None:
    assert TranslationCounts().hit_rate == 0.0


def test_counts_can_be_told_again_and_again() -> None:
    metrics = Metrics()
    before, _ = metrics.exposition()
    metrics.translation.hits += 1
    after, _ = metrics.exposition()
    assert samples(before)["flarelay_translation_units_total cache"] == 0
    assert samples(after)["flarelay_translation_units_total cache"] == 1
    assert Metrics().exposition()[0] == before
