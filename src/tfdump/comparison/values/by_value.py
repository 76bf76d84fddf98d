"""Pairs by value what names do not pair, and corrects names that tensors of other values bear.

The steps: measure the pairs of names; match the other tensors that are equal but for rounding; let names give way where
the values say so; pair what is near and nothing else; lay out what has its axes in another order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tfdump.comparison.layers.certain_pairs import POSITION
from tfdump.comparison.layers.tree import knows_layers
from tfdump.comparison.pairing import EXACT, MAP, NEAR_VALUE, ORDER, STRUCTURE, Pair
from tfdump.comparison.sides import Side
from tfdump.comparison.values.agreement import agreement_of_readers
from tfdump.comparison.values.layouts import Layout, is_identity, layouts_between
from tfdump.comparison.values.likeness import NEAR, Likeness, is_exact, is_near, whole_layout
from tfdump.comparison.values.matching import Edge, match_edges
from tfdump.comparison.values.measuring import Measurer
from tfdump.comparison.values.near_pairs import near_edges
from tfdump.comparison.values.samples import TensorSample, samples_of
from tfdump.dump import layout as groups


@dataclass(frozen=True)
class ValuePairing:
    """The pairs, and what the values say against names that stay.

    `renamed` has the pairs of equal values whose names say otherwise. `disputed` has golden with new addresses of equal
    values that are not paired, because their names are facts or because what follows differs.
    """

    pairs: list[Pair]
    renamed: list[Pair]
    disputed: list[tuple[str, str]]


@dataclass(frozen=True)
class NamedPair:
    """A pair that names made, with the samples of both tensors and how like they are."""

    pair: Pair
    golden: TensorSample
    new: TensorSample
    likeness: Likeness

    @property
    def agrees(self) -> bool:
        """Whether the values are equal but for rounding."""
        return is_exact(self.likeness, self.golden.item, self.new.item)


def pair_by_value(pairs: Sequence[Pair], golden: Side, new: Side) -> ValuePairing:
    """Return the pairs, where tensors whose names or places pair them with nothing are paired by their values.

    `pairs` is what `pair_sides` returns. Both sides must hold the same examples; a few of these are read. Pairs of
    inputs and outputs stay, because their names and order are the interface of a model, and so do those of a map.
    """
    return _ValuePairer(pairs, golden, new).result()


class _ValuePairer:
    """The state of the steps; tensors are known by their places in the order of execution."""

    def __init__(self, pairs: Sequence[Pair], golden: Side, new: Side) -> None:
        self._pairs = pairs
        self._golden = golden
        self._facts = all(side.is_plain or knows_layers(side) for side in (golden, new))
        self._measurer = Measurer()
        self._samples = samples_of(golden, new)
        self._new_samples = samples_of(new, golden)
        self._by_place = {sample.place: sample for sample in self._samples.values()}
        self._new_by_place = {sample.place: sample for sample in self._new_samples.values()}
        self._named = {id(pair): named for pair in pairs if (named := self._named_pair(pair)) is not None}
        self._right = {one.golden.place: one.new.place for one in self._named.values() if one.agrees}
        self._loose = [one for one in self._named.values() if not one.agrees]
        self._alone = self._without_partner(self._samples, [pair.golden for pair in pairs if pair.new is None])
        self._new_alone = self._without_partner(self._new_samples, [p.new for p in pairs if p.golden is None])

    def _named_pair(self, pair: Pair) -> NamedPair | None:
        old, other = self._samples.get(id(pair.golden)), self._new_samples.get(id(pair.new))
        if old is None or other is None:
            return None
        return NamedPair(pair, old, other, self._measurer.named_likeness(old, other))

    @staticmethod
    def _without_partner(samples: Mapping[int, TensorSample], items: Sequence[object]) -> list[TensorSample]:
        return [samples[id(item)] for item in items if id(item) in samples]

    def result(self) -> ValuePairing:
        """Run the steps."""
        edges = self._edges()
        sharing = {sample.place for sample in self._alone}
        tentative = match_edges(edges, self._right, sharing)
        agreement = self._agreement(tentative)
        usual = self._usual_layouts(tentative)
        edges = [edge for edge in edges if not self._turns_in_place(edge, usual, agreement)]
        yielding = self._yielding(edges, tentative, agreement)
        leaving = sharing | {one.golden.place for one in yielding}
        matches = match_edges([edge for edge in edges if edge.golden in leaving], self._right, sharing)
        agreement = self._agreement(matches)
        near = self._near(matches, yielding, agreement)
        partners = {**near, **matches}
        gone = {id(one.pair) for one in yielding}
        used = {edge.new for edge in partners.values()}
        pairs = []
        for pair in self._pairs:
            if id(pair) in gone or (pair.new is None and id(pair.golden) in self._samples):
                pairs.append(self._by_value(pair, matches, near))
            elif pair.golden is not None or not self._is_used(pair, used):
                pairs.append(self._laid_out(pair, usual, agreement))
        staying = {id(pair.new) for pair in pairs if pair.golden is not None}
        pairs += [Pair(None, one.new.item, "") for one in yielding if id(one.new.item) not in staying]
        return ValuePairing(pairs, self._renamed(pairs, yielding), self._disputed(tentative, leaving))

    def _edges(self) -> list[Edge]:
        """Return the edges of the golden tensors that names pair with nothing, or with other values."""
        open_samples = [*self._alone, *(one.golden for one in self._loose)]
        return list(self._measurer.equal(open_samples, list(self._new_samples.values()))) if open_samples else []

    def _agreement(self, matches: Mapping[int, Edge]) -> dict[str, bool]:
        """Return by golden address whether all that read the activation agree."""
        agreeing = {
            self._by_place[place].item.address
            for place in (*self._right, *matches)
            if self._by_place[place].group == groups.ACTIVATIONS
        }
        alone = {pair.golden.address for pair in self._pairs if pair.golden is not None and pair.new is None} - agreeing
        return agreement_of_readers(self._golden.items, agreeing.__contains__, alone.__contains__)

    def _usual_layouts(self, matches: Mapping[int, Edge]) -> list[Layout]:
        """Return the layouts that tensors of equal values need, the most frequent first."""
        known = [(one.golden, one.new, one.likeness) for one in self._named.values() if one.agrees]
        known += [(self._by_place[e.golden], self._new_by_place[e.new], e.likeness) for e in matches.values()]
        layouts = [
            whole_layout(likeness.layout, (old, other))
            for old, other, likeness in known
            if likeness.layout is not None and old.shape != other.shape
        ]
        return [layout for layout, _ in Counter(layouts).most_common()]

    def _turns_in_place(self, edge: Edge, usual: Sequence[Layout], agreement: Mapping[str, bool]) -> bool:
        """Tell whether the axes of two tensors of one shape seem to be exchanged, and nothing else confirms it."""
        old, other = self._by_place[edge.golden], self._new_by_place[edge.new]
        if old.shape != other.shape or edge.likeness.layout is None or not edge.turned:
            return False
        layout = whole_layout(edge.likeness.layout, (old, other))
        return layout not in usual and not agreement.get(old.item.address, False)

    def _yielding(
        self, edges: Sequence[Edge], tentative: Mapping[int, Edge], agreement: Mapping[str, bool]
    ) -> list[NamedPair]:
        """Return the pairs whose names are wrong.

        The golden tensor must be accounted for: another new tensor equals it, or its namesake is another tensor, and
        all that read it agree. So a fault that one tensor shows is not hidden by pairing it with another one. If
        another golden tensor of the same values has a partner by name, the name stays. Where nothing is known to read
        the tensor, or only a position paired it, the values must be clearly different.
        """
        possible = {(edge.golden, edge.new) for edge in edges}
        shared = {edge.golden for edge in edges if edge.new in self._right.values()}
        claimed = {edge.new for edge in tentative.values()}
        yielding = []
        for one in self._loose:
            if self._is_fact(one.pair):
                continue
            place, readers = one.golden.place, self._readers_agree(one.golden, agreement)
            clear = one.likeness.distance >= NEAR
            edge = tentative.get(place)
            if edge is not None and (place, edge.new) in possible and place not in shared:
                gives_way = bool(readers) or (readers is None and clear)
            else:
                gives_way = one.new.place in claimed and (bool(readers) or (_is_guess(one.pair) and clear))
            if gives_way:
                yielding.append(one)
        return yielding

    def _is_fact(self, pair: Pair) -> bool:
        """Tell whether names decide: those of a map, of two Keras models, or of arrays that people named."""
        return pair.by == MAP or (self._facts and not _is_guess(pair))

    @staticmethod
    def _readers_agree(sample: TensorSample, agreement: Mapping[str, bool]) -> bool | None:
        """Return whether all that read a tensor agree; None if nothing is known to read it."""
        return agreement.get(sample.item.address) if sample.group == groups.ACTIVATIONS else None

    def _near(
        self, matches: Mapping[int, Edge], yielding: Sequence[NamedPair], agreement: Mapping[str, bool]
    ) -> dict[int, Edge]:
        """Return the edges of golden tensors without a partner that are near a new tensor without one."""
        used = {edge.new for edge in matches.values()}
        alone = [
            sample
            for sample in self._alone
            if sample.place not in matches and not self._readers_agree(sample, agreement)
        ]
        new_alone = [s for s in (*self._new_alone, *(one.new for one in yielding)) if s.place not in used]
        gone = {id(one.pair) for one in yielding}
        partners = {one.new.place: one.golden for key, one in self._named.items() if key not in gone}
        sides = list(self._samples.values()), list(self._new_samples.values())
        return near_edges(self._measurer, alone, new_alone, sides, partners)

    def _by_value(self, pair: Pair, matches: Mapping[int, Edge], near: Mapping[int, Edge]) -> Pair:
        """Return the pair of a golden tensor by its value, or without a partner."""
        old = self._samples[id(pair.golden)]
        edge = matches.get(old.place) or near.get(old.place)
        if edge is None:
            return Pair(pair.golden, None, "")
        other = self._new_by_place[edge.new]
        exact = old.place in matches
        return Pair(pair.golden, other.item, EXACT if exact else NEAR_VALUE, _axes(edge.likeness, old, other), exact)

    def _is_used(self, pair: Pair, used: set[int]) -> bool:
        sample = self._new_samples.get(id(pair.new))
        return sample is not None and sample.place in used

    def _laid_out(self, pair: Pair, usual: Sequence[Layout], agreement: Mapping[str, bool]) -> Pair:
        """Return a pair that names made, with the layout that its values need."""
        named = self._named.get(id(pair))
        if named is None:
            return pair
        axes = _axes(named.likeness, named.golden, named.new)
        if named.golden.shape == named.new.shape:
            confirmed = axes in usual or (named.agrees and agreement.get(named.golden.item.address, False))
            axes = axes if confirmed else None
            return replace(pair, axes=axes, exact=named.agrees and (axes is not None or _is_upright(named)))
        if not is_near(named.likeness) and not named.agrees and axes is not None:
            fitting = set(layouts_between(named.new.item.shape, named.golden.item.shape))
            axes = next((layout for layout in usual if layout in fitting), None)
        return replace(pair, axes=axes, exact=named.agrees)

    def _renamed(self, pairs: Sequence[Pair], yielding: Sequence[NamedPair]) -> list[Pair]:
        """Return the pairs by value of which a name is that of another tensor."""
        golden = {id(one.golden.item) for one in yielding}
        new = {id(one.new.item) for one in yielding}
        return [p for p in pairs if p.by == EXACT and (id(p.golden) in golden or id(p.new) in new)]

    def _disputed(self, tentative: Mapping[int, Edge], leaving: set[int]) -> list[tuple[str, str]]:
        """Return the golden tensors that stay with their namesakes, with new tensors that equal them."""
        return [
            (self._by_place[place].item.address, self._new_by_place[edge.new].item.address)
            for place, edge in sorted(tentative.items())
            if place not in leaving
        ]


def _is_guess(pair: Pair) -> bool:
    """Tell whether only the order, or the position in a list of layers, paired two tensors."""
    structure = str(pair.golden.attributes.get("structure", "")) if pair.golden is not None else ""
    return pair.by == ORDER or (pair.by == STRUCTURE and POSITION.search(structure) is not None)


def _is_upright(named: NamedPair) -> bool:
    return named.likeness.layout is not None and is_identity(named.likeness.layout, named.new.shape)


def _axes(likeness: Likeness, golden: TensorSample, new: TensorSample) -> Layout | None:
    """Return the layout of a whole new tensor that gives it the axes of the golden one; None if it has them."""
    if likeness.layout is None:
        return None
    layout = whole_layout(likeness.layout, (golden, new))
    return None if is_identity(layout, new.item.shape) else layout
