"""What step Check keeps over a restart, and which test images a pass has."""

from graft.app.review_memory import digest_of, next_pass, read_memory, write_memory


def images(*names):
    return [{"sha256": name, "doubted": name < "c"} for name in names]


def test_a_pass_that_is_begun_stays_until_all_is_decided_and_then_gets_what_is_new():
    begun, fresh = images("a", "b", "c"), images("a", "d")
    assert next_pass(begun, fresh, {}) == fresh
    assert next_pass(begun, fresh, {"a": "cat"}) == begun
    assert next_pass(begun, fresh, {"a": "", "b": "cat", "c": "cat"}) == images("a", "b", "c", "d")


def test_the_accuracy_and_the_pass_are_there_after_a_restart(tmp_path):
    assert read_memory(tmp_path) == {"effect": None, "test": []}
    write_memory(tmp_path, {"of": 3}, images("a"))
    assert read_memory(tmp_path) == {"effect": {"of": 3}, "test": images("a")}
    (tmp_path / "review.json").write_text("{")
    assert read_memory(tmp_path) == {"effect": None, "test": []}


def test_the_digest_changes_with_images_labels_and_decisions_alone():
    digest = digest_of([("a", "cat"), ("b", "dog")], {"a": "cat"})
    assert digest == digest_of([("b", "dog"), ("a", "cat")], {"a": "cat"})
    others = ([("a", "cat")], {"a": "cat"}), ([("a", "cat"), ("b", "dog")], {})
    assert digest not in {digest_of(*other) for other in others}
