"""Plots as SVG, written by hand: horizontal bars, the best on top, one for each figure of a row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _LABELS, _VALUES = 860, 230, 150
_BAR, _GAP, _TOP, _BOTTOM = 22, 8, 56, 34
_FONT = 'font-family="system-ui, sans-serif" font-size="13"'
_OURS, _THEIRS, _LIMIT = "#1f6feb", "#9aa7b4", "#d4a72c"


@dataclass(frozen=True)
class Bar:
    """``lowest`` and ``highest`` are drawn as a whisker. ``kind``: ours, theirs, or a limit."""

    label: str
    value: float
    lowest: float
    highest: float
    shown: str
    kind: str = "theirs"


def bars(title: str, unit: str, found: Sequence[Bar], *, is_log: bool, better: str) -> str:
    """A figure of each contestant. Bars of a logarithmic scale begin at a power of ten, and the plot says so."""
    scale = _scale([bar.highest for bar in found], [bar.lowest for bar in found], is_log=is_log)
    height = _TOP + len(found) * (_BAR + _GAP) + _BOTTOM
    note = f"{unit}, {better} is better" + (", logarithmic scale" if is_log else "")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT} role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="16" font-weight="600" fill="#1f2328">{escape(title)}</text>',
        f'<text x="16" y="42" fill="#59636e">{escape(note)}</text>',
        *_grid(scale, height, unit),
    ]
    for place, bar in enumerate(found):
        parts += _bar(bar, _TOP + place * (_BAR + _GAP), scale)
    return "\n".join([*parts, "</svg>\n"])


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    is_log: bool

    def at(self, value: float) -> float:
        """From the left end of the bars, in pixels."""
        room = _WIDTH - _LABELS - _VALUES
        value = max(value, self.low)
        if self.is_log:
            return room * math.log(value / self.low) / math.log(self.high / self.low)
        return room * value / self.high

    def ticks(self) -> list[float]:
        if self.is_log:
            powers = range(round(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [10.0**power for power in powers]
        step = 10.0 ** math.floor(math.log10(self.high))
        step = step / 5 if self.high < 2 * step else step / 2 if self.high < 5 * step else step
        return [place * step for place in range(int(self.high / step) + 1)]


def _scale(highest: Sequence[float], lowest: Sequence[float], *, is_log: bool) -> _Scale:
    high = max([*highest, 0.0]) or 1.0
    positive = [value for value in lowest if value > 0]
    if is_log and positive:
        low = 10.0 ** math.floor(math.log10(min(positive)))
        return _Scale(low if low < min(positive) else low / 10, high, is_log=True)
    return _Scale(0.0, high, is_log=False)


def _grid(scale: _Scale, height: int, unit: str) -> list[str]:
    lines = []
    for tick in scale.ticks():
        x = _LABELS + scale.at(tick)
        shown = f"{100 * tick:g} %" if unit == "%" else f"{tick:,g}" if tick < 1e4 else f"{tick:,.0f}"
        lines.append(f'<path d="M{x:.1f} {_TOP - 6}V{height - _BOTTOM}" stroke="#d1d9e0"/>')
        lines.append(f'<text x="{x:.1f}" y="{height - 14}" fill="#59636e" text-anchor="middle">{shown}</text>')
    return lines


def _bar(bar: Bar, y: int, scale: _Scale) -> list[str]:
    colour = {"ours": _OURS, "limit": _LIMIT}.get(bar.kind, _THEIRS)
    weight = "600" if bar.kind == "ours" else "400"
    width, middle = max(1.0, scale.at(bar.value)), y + _BAR / 2
    low, high = _LABELS + scale.at(bar.lowest), _LABELS + scale.at(bar.highest)
    text = f'y="{middle + 4.5:.1f}" font-weight="{weight}" fill="#1f2328"'
    return [
        f'<text x="{_LABELS - 10}" {text} text-anchor="end">{escape(bar.label)}</text>',
        f'<rect x="{_LABELS}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2" fill="{colour}"/>',
        f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#1f2328" stroke-opacity="0.6" stroke-width="1.5"/>',
        f'<text x="{max(_LABELS + width, high) + 8:.1f}" {text}>{escape(bar.shown)}</text>',
    ]
