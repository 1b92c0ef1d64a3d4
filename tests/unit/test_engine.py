import json

import pytest

from dither.arch.config import PRESETS, EngineConfig, engine, engine_name, preset


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 3}, r"rows must be one of \(1, 2, 4, 8\), not 3"),
        ({"lanes": 0}, "lanes must be from 1 to 4096, not 0"),
        ({"lanes": 4097}, "lanes must be from 1 to 4096, not 4097"),
        ({"width": 17}, r"width must be one of \(16, 18\), not 17"),
        ({"activation_depth": 8}, "activation_depth must be from 16 to 32768, not 8"),
        ({"parameter_depth": 32769}, "parameter_depth must be from 16 to 32768, not 32769"),
        ({"program_depth": 15}, "program_depth must be from 16 to 32768, not 15"),
        ({"table_bits": 5}, "table_bits must be from 6 to 10, not 5"),
        ({"activation_tables": 3}, "activation_tables must be 0, 1, 2 or 4, not 3"),
        ({"lanes": 32, "lanes_per_table": 5}, r"lanes_per_table must divide lanes \(32\), not 5"),
        ({"lanes_per_table": 0}, "lanes_per_table must divide lanes"),
        ({"word_parts": 3}, r"word_parts must divide rows \(4\) and lanes \(32\), not 3"),
        ({"word_parts": 0}, r"word_parts must divide rows \(4\) and lanes \(32\), not 0"),
        (
            {"word_parts": 4, "local_learning": 0, "parameter_depth": 32768},
            "parameter_depth must be at most 16384 with 4 word_parts, not 32768",
        ),
        ({"rounds_per_cycle": 3}, "rounds_per_cycle must be 1, 2 or 4, not 3"),
        ({"rows": 4.0}, "rows must be an integer, not 4.0"),
        ({"lanes": True}, "lanes must be an integer, not True"),
    ],
)
def test_configurations_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        EngineConfig(**values)


def test_derived_widths():
    config = EngineConfig(rows=4, lanes=32, width=18)
    assert config.multipliers == 128
    assert config.accumulator_width == 48
    assert config.beat_width == 32 * 18
    assert config.geometry == "4×32"
    assert EngineConfig(rows=8, lanes=2, lanes_per_table=1).beat_width == 8 * 48
    assert EngineConfig(rows=1, lanes=1, lanes_per_table=1).beat_width == 48


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_are_found_and_survive_a_dictionary(name):
    config = preset(name)
    assert EngineConfig.from_dict(config.to_dict()) == config
    assert EngineConfig.from_dict(config.to_dict()).digest() == config.digest()


def test_digests_tell_configurations_apart():
    assert len({config.digest() for config in PRESETS.values()}) == len(PRESETS)
    assert len(EngineConfig().digest()) == 8


def test_digests_tell_weight_memories_apart():
    assert json.loads(EngineConfig(parameter_depth=512).canonical)["weight_depth"] == 1024
    assert "weight_depth" not in json.loads(EngineConfig(parameter_depth=2048).canonical)


@pytest.mark.parametrize("config", [*PRESETS.values(), engine("8x6"), engine("2x16@512")], ids=engine_name)
def test_engines_are_known_by_their_names(config):
    assert engine(engine_name(config)) == config


def test_names_of_engines():
    assert engine("4×32").geometry == "4×32"
    assert engine("2x6").lanes_per_table == 2
    assert engine("8x32@8192").parameter_depth == 8192
    assert engine("8x64").parameter_depth == 2048
    with pytest.raises(ValueError, match=r"unknown engine 'fast'; known: 1x8, .*, or ROWSxLANES\[@WORDS\]"):
        engine("fast")
    with pytest.raises(ValueError, match="engine 3x16: rows must be one of"):
        engine("3x16")


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown engine '3x3'; known: 1x8, 2x16, 4x32"):
        preset("3x3")
    with pytest.raises(ValueError, match="unknown engine parameters: colour, size"):
        EngineConfig.from_dict({"size": 1, "colour": 2})
