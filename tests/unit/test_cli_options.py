"""What an option, the environment and the folder say, and which of them wins."""

from pathlib import Path

import pytest

from services.cli.options import catalogue_folder, settings_from
from services.core.errors import Misconfigured

ENVIRONMENT = {
    "LASTWORD_KAFKA": "env:9092",
    "LASTWORD_KAFKA_X_SASL_PASSWORD": "hidden",
    "LASTWORD_POSTGRES": "postgresql://env/db",
}


def test_options_win_over_the_environment() -> None:
    settings = settings_from(
        kafka="option:9092",
        properties=("sasl.username=me", "client.id=a=b"),
        postgres="postgresql://option/db",
        environment=ENVIRONMENT,
    )
    assert settings.kafka == {
        "bootstrap.servers": "option:9092",
        "sasl.username": "me",
        "sasl.password": "hidden",
        "client.id": "a=b",
    }
    assert settings.postgres == "postgresql://option/db"


def test_without_options_the_environment_counts() -> None:
    settings = settings_from(environment=ENVIRONMENT)
    assert settings.kafka["bootstrap.servers"] == "env:9092"
    assert settings.postgres == "postgresql://env/db"


@pytest.mark.parametrize("text", ["sasl.password", "=x"])
def test_a_property_without_its_value_is_explained_and_not_quoted_whole(text: str) -> None:
    with pytest.raises(Misconfigured, match="KEY=VALUE"):
        settings_from(properties=(text,), environment={})


def test_the_catalogue_is_the_one_named_then_this_folder_then_the_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("named", "variable", "here", "here/examples/shop"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "lastword.toml").touch()
    monkeypatch.chdir(tmp_path / "here")
    variable = {"LASTWORD_CATALOGUE": str(tmp_path / "variable")}
    assert catalogue_folder(tmp_path / "named", variable) == tmp_path / "named"
    assert catalogue_folder(None, variable) == tmp_path / "variable"
    assert catalogue_folder(None, {}) == tmp_path / "here"
    (tmp_path / "here" / "lastword.toml").unlink()
    assert catalogue_folder(None, {}) == tmp_path / "here" / "examples" / "shop"


def test_a_folder_without_a_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=f"no lastword.toml in {tmp_path}"):
        catalogue_folder(tmp_path, {})
