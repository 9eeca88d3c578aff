"""Numbers behind plain words: "keep the colours", "smoother", "twice as large", "add film grain", "skip steps"."""

import re
from collections.abc import Callable

from storage.schema import MOST_STEPS, MagCacheSettings, Tuning

LIVELY = Tuning(motion_amplitude=1.15)  # "more motion"; what users of the source set, and its own hint
LESS_DRIFT = 0.8  # of the colours before a join: the seed document's advice, and night may still fall
LIGHT_GRAIN, CLEANED = 0.1, 0.5


def _number(name: str, value: object) -> dict[str, object]:
    return {"tuning": Tuning.model_validate({name: value})}


def _guided(scale: float) -> dict[str, object]:
    return {"tuning": Tuning(guidance=scale, guidance2=scale)}


NUMBERS: tuple[tuple[str, Callable[[re.Match[str]], dict[str, object]]], ...] = (
    (
        r"(?:keep|preserve|match|hold) (?:the )?colou?rs?(?: as they are| the same| constant| consistent)?"
        r"|(?:the )?colou?rs? (?:should )?(?:stay|remain)(?: as they are| the same)?|no colou?r (?:drift"
        r"|shifts?|changes?)"
        r"|(?:behalte? |halte? )?die farben (?:beibehalten|bleiben(?: gleich)?|wie sie sind|angleichen)"
        r"|farben angleichen"
        r"|(?:garde[rz]? |conserve[rz]? )(?:les )?(?:mêmes )?couleurs|(?:mantén|mantener|conserva) (?:los )?colores",
        lambda _: _number("color_correction", LESS_DRIFT),
    ),
    (
        r"smooth(?:er)?|more fluid|(?:buttery|super) smooth|flüssiger|plus fluide|más fluid[oa]"
        r"|(?P<fps>32|48|50|60|64) ?(?:fps|hz|frames (?:a|per) second|bilder pro sekunde|images par seconde"
        r"|fotogramas por segundo)",
        lambda m: _number("interpolation", 2 if m["fps"] in (None, "32") else 4),
    ),
    (
        r"(?P<four>(?:four times|4 ?x|4 times|viermal|quatre fois|cuatro veces) (?:as |so |plus |más )?"
        r"(?:large|big|bigger|larger|groß|größer|grand|grande|upscal(?:e|ed|ing)))"
        r"|(?:twice|two times|2 ?x|2 times|double|doppelt|zweimal|deux fois|el doble|dos veces) (?:de )?"
        r"(?:as |so |plus |más )?"
        r"(?:large|big|bigger|larger|the size|groß|größer|grand|grande|upscal(?:e|ed|ing))"
        r"|upscal(?:e|ed|ing)(?: it)?|hochskalier(?:t|en)|agrandi[re]?|(?:re)?escal(?:ado|ar|a)",
        lambda m: _number("upscaling", 4 if m["four"] else 2),
    ),
    (
        r"(?:add|apply|put) (?:some |a (?:little|bit of) )?(?:film )?grain|füge? (?:etwas )?(?:film)?korn hinzu"
        r"|(?:with(?: some)?|mit|etwas|more|some|mehr) (?:film ?)?(?:grain|korn|körnung)|(?:ajoute[rz]?|avec) du grain"
        r"|(?:añade|añadir|con) grano",
        lambda _: _number("grain", LIGHT_GRAIN),
    ),
    (
        r"skip(?:ping)? (?:some )?steps|step skipping|(?:use |with )?mag ?cache|schritte überspringen"
        r"|saute[rz]? des étapes|salta(?:r)? pasos",
        lambda _: _number("magcache", MagCacheSettings().speed),
    ),
    (
        r"(?:less|no|remove (?:the )?) ?(?:noise|specks)|denoise(?:d)?|(?:weniger rauschen|entrausch(?:en|t))"
        r"|(?:moins de|sans) bruit|(?:menos|sin) ruido",
        lambda _: _number("frame_denoising", CLEANED),
    ),
    (
        r"(?:less|fewer|no) (?:blocks|blockiness|block(?:ing)? artefacts|block(?:ing)? artifacts)|deblock(?:ed|ing)?"
        r"|(?:weniger|keine) (?:blöcke|klötzchen)|(?:moins de|sans) blocs|(?:menos|sin) bloques",
        lambda _: _number("deblocking", CLEANED),
    ),
    (
        r"self[- ]refine(?:r|ment|d)?|refine (?:it|the film|every frame)",
        lambda _: _number("refiner_norm", 1),
    ),
    (
        r"(?:with |use )?(?P<steps>\d{1,3}) (?:sampling |denoising |inference )?steps|(?P<schritte>\d{1,3}) schritten?"
        r"|(?P<pas>\d{1,3}) étapes|(?P<pasos>\d{1,3}) pasos de muestreo",
        lambda m: _number("steps", max(1, min(int(next(filter(None, m.groups()))), MOST_STEPS))),
    ),
    (
        r"(?:with |use )?(?:guidance|cfg)(?: scale)?(?: ?[:=]| of| to)? ?(?P<scale>\d{1,2}(?:\.\d)?)",
        lambda m: _guided(min(max(float(m["scale"]), 1.0), 20.0)),
    ),
)
