"""Which variables of the notebook a cell reads: those that it has not surely written before.

Law: statements are followed as they run, and what may or may not happen counts as not
happened. Whose a name is in nested code, `symtable` says. In doubt a name is read: one
that is taken along in vain changes nothing.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable
from symtable import Symbol, SymbolTable, symtable

from raysched.runners.cells import FILE

Names = frozenset[str]


def names_read(text: str) -> Names:
    """Return the global names whose value from before the cell can make a difference to it.

    Raises:
        SyntaxError, ValueError, RecursionError: the text is no plain Python, or nested too deep.
    """
    reads = _Reads()
    reads.visit(_Spelled().visit(ast.parse(text, FILE)))
    return Names(reads.found)


class _Spelled(ast.NodeTransformer):
    """Writes `n += 1` as `n = n + 1`: symtable does not count the first as a reading of n."""

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        value = ast.BinOp(node.target, node.op, self.visit(node.value))
        return ast.Assign([node.target], value, lineno=node.lineno)


class _Reads(ast.NodeVisitor):
    """Follows statements: what may be read is `found`, what is surely written by now `own`.

    A name that was deleted is written, too: what the notebook had is gone.
    """

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.own = Names()

    def generic_visit(self, node: ast.AST) -> None:
        """Take what runs as a whole: it reads first, and what it binds is bound at its end."""
        table = symtable(ast.unparse(node), FILE, "exec")
        self.found |= _looked_up(table) - self.own
        bound = {each.get_name() for each in table.get_symbols() if _is_bound(each)}
        perhaps = {each.target.id for each in ast.walk(node) if isinstance(each, ast.NamedExpr)}
        self.own |= (bound - perhaps) | _named_surely(node)

    def _written(self, body: Iterable[ast.AST], before: Names) -> Names:
        self.own = before
        for each in body:
            self.visit(each)
        return self.own

    def _perhaps(self, body: Iterable[ast.AST]) -> None:
        before = self.own
        self._written(body, before)
        self.own = before

    def visit_Module(self, node: ast.Module) -> None:
        self._written(node.body, self.own)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        before = self.own
        self.own = self._written(node.body, before) & self._written(node.orelse, before)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._perhaps(node.body)
        self._perhaps(node.orelse)

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self._perhaps([_bound_to(node.target), *node.body])
        self._perhaps(node.orelse)

    def visit_With(self, node: ast.With) -> None:
        """What goes wrong inside may be suppressed, but not where a plain name is bound."""
        first, *others = node.items
        target = first.optional_vars
        self.visit(first.context_expr)
        entered = [] if target is None else [_bound_to(target)]
        self._perhaps([*entered, *([ast.With(others, node.body)] if others else node.body)])
        if isinstance(target, ast.Name):
            self.own |= {target.id}

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        before = self.own
        ended = self._written([*node.body, *node.orelse], before)
        for handler in node.handlers:
            caught = [] if handler.type is None else [handler.type]
            named = [] if handler.name is None else [_bound_to(ast.Name(handler.name))]
            ended &= self._written([*caught, *named, *handler.body], before)
        self.own = ended | self._written(node.finalbody, before)

    visit_TryStar = visit_Try  # noqa: N815  # as ast names it

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        before = self.own
        for case in node.cases:
            pattern = ast.match_case(case.pattern, None, [ast.Pass()])
            self.generic_visit(ast.Match(ast.Constant(None), [pattern]))
            guard = [] if case.guard is None else [case.guard]
            self._written([*guard, *case.body], self.own)
            self.own = before

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Without a decorator nobody can call it before its name is bound."""
        if not node.decorator_list:
            signature = copy.copy(node)
            signature.body = [ast.Pass()]
            self.generic_visit(signature)
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Delete(self, node: ast.Delete) -> None:
        self.generic_visit(ast.Tuple(node.targets))  # it needs what it deletes
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        before = self.own
        self.generic_visit(node)
        if node.value is None:
            self.own = before


def _bound_to(target: ast.expr) -> ast.Assign:
    return ast.Assign([target], ast.Constant(None), lineno=1)


def _is_bound(symbol: Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported()


def _looked_up(table: SymbolTable) -> Names:
    """Return the global names that code may look up, and the code inside of it."""
    return Names(each.get_name() for each in table.get_symbols() if _is_read(each, table)).union(
        *map(_looked_up, table.get_children())
    )


def _is_read(symbol: Symbol, table: SymbolTable) -> bool:
    """Whether it may be looked up in the globals; a class looks in its own names and there."""
    match table.get_type():
        case "module":
            return symbol.is_referenced()
        case "class":
            return symbol.is_referenced() or symbol.is_global()
    return symbol.is_global()


def _named_surely(node: ast.AST) -> Names:
    """Return the names that `:=` binds whenever the node is evaluated."""
    match node:
        case ast.NamedExpr(ast.Name(name), value):
            return _named_surely(value) | {name}
        case ast.BoolOp(values=[first, *_]) | ast.IfExp(test=first):
            return _named_surely(first)
        case ast.Compare(left, _, [right, *_]):
            return _named_surely(left) | _named_surely(right)
        case ast.Assert() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return Names()
        case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return Names()
    return Names().union(*map(_named_surely, ast.iter_child_nodes(node)))
