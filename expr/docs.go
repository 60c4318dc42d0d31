package expr

import (
	"strings"
)

// Docs is docs/functions.md: what an expression may consist of, made from the
// library itself. A test holds the file to it.
func Docs() string {
	var b strings.Builder
	b.WriteString(docsHead())
	for _, s := range sections() {
		b.WriteString("\n## " + s.title + "\n\n| function | gives |\n|---|---|\n")
		for i := range s.functions {
			fn := &s.functions[i]
			b.WriteString("| `" + strings.ReplaceAll(fn.signature(), "|", "\\|") + "` | " + fn.doc + " |\n")
		}
	}
	return b.String()
}

// docsHead is what is not in the library: operators and functions with predicates.
func docsHead() string {
	return `# Expressions

<!-- Made from the code: go test ./expr -run TestDocs -update -->

Expressions are written in the grammar of [expr-lang](https://expr-lang.org/docs/language-definition). What they mean here:

- **Null.** A field that is not there is null. Null in arithmetic or as an argument gives null, unless the function says otherwise.
  A comparison with null is null, and null as a condition is false; ` + "`x == nil`, `x != nil`, `x ?? other` and `is_null(x)`" + ` see it.
  ` + "`and`, `or`, `not`" + ` follow three-valued logic: ` + "`false and null` is false, `true and null` is null, `not null` is null." + `
- **Errors.** Overflow of 64-bit ints, division by zero, a failed conversion, a value of the wrong type are errors of that record, never a wrong
  number; what would fail for every record, such as a division by the constant 0, is refused before running.
- **Numbers.** Ints keep all 64 bits. ` + "`/` and `**`" + ` always give a float; ` + "`div(a, b)`" + ` divides ints. An int and a float are equal when their
  values are; a string is never equal to a number, and where both types are known the comparison is refused.
- **Strings** are compared byte by byte; their length and indexes count Unicode characters.
- **Times** are ints: milliseconds since 1970.
- **Limits.** An expression has at most 64 KiB of text and 10 000 parts. For one record it takes at most 10 million steps (an element looped over is one,
  an element built four, 16 bytes of text one); more is an error of the record.

## Operators

| operator | on | gives |
|---|---|---|
| ` + "`+ - * / % **`" + ` | numbers (` + "`%`" + ` ints) | a number; ` + "`+`" + ` also joins two strings |
| ` + "`== != < <= > >=`" + ` | two numbers, two strings; ` + "`==`" + ` anything | bool; ` + "`1 < x < 5`" + ` is a chain |
| ` + "`&& \\|\\| !`" + `, ` + "`and or not`" + ` | bools | bool; the right side is not computed when the left one decides |
| ` + "`a ?? b`" + ` | anything | a, or b where a is null |
| ` + "`c ? a : b`, `if c {a} else {b}`" + ` | a bool | a or b |
| ` + "`x in list`, `name in object`, `not in`" + ` | | bool; nulls in the list equal nothing |
| ` + "`contains startsWith endsWith`" + ` | strings; ` + "`contains`" + ` also a list | bool |
| ` + "`x matches \"pattern\"`" + ` | a string and a constant in RE2 syntax, at most 1000 bytes | bool |
| ` + "`a..b`" + ` | ints | the list of ints from a to b, both included, at most 100 000 |
| ` + "`x.name x[\"name\"] x[0] x[-1] x[1:3] x?.name`" + ` | objects, lists, strings (slices) | the part, null when it is not there (with or without ` + "`?`" + `) |
| ` + "`{name: x, (computed): y}`, `[x, y]`" + ` | | an object, a list |
| ` + "`x \\| function(...)`" + ` | | ` + "`function(x, ...)`" + ` |
| ` + "`let name = x; ...`" + ` | | the rest, in which name is x |

## Functions over the elements of a list

In the predicate, ` + "`#` is the element, `.name` its field, `#index`" + ` its index; a null list gives null, and a null predicate counts as false.
An object as the result goes in parentheses: ` + "`map(list, ({name: .name}))`" + `.

| function | gives |
|---|---|
| ` + "`all(list, p)` `any(list, p)` `none(list, p)` `one(list, p)`" + ` | whether p holds for all, at least one, none, exactly one of the elements |
| ` + "`filter(list, p)`" + ` | the elements for which p holds |
| ` + "`map(list, x)`" + ` | x of each element |
| ` + "`count(list, p)`" + ` | for how many elements p holds |
| ` + "`sum(list, x)`" + ` | the sum of x over the elements, nulls left out |
| ` + "`find(list, p)` `findLast(list, p)` `findIndex(list, p)` `findLastIndex(list, p)`" + ` | the first or last element for which p holds, or its index; null when there is none |
| ` + "`sortBy(list, x, \"asc\")`" + ` | the elements ordered by x (or ` + "`\"desc\"`" + `), nulls last |
| ` + "`groupBy(list, x)`" + ` | an object of lists by x as text; elements with a null x are left out |
| ` + "`reduce(list, x, start)`" + ` | x for each element in turn, in which ` + "`#acc`" + ` is the result so far |

## Layouts of times

` + "`parse_time` and `format_time`" + ` know the layouts ` + "`rfc3339`, `rfc1123`" + ` and patterns of these directives:

| directive | stands for |
|---|---|
| ` + "`%Y %m %d %j`" + ` | year (4 digits), month, day of the month, day of the year |
| ` + "`%H %M %S %I %p`" + ` | hour (24), minute, second, hour (12), AM or PM |
| ` + "`%L %f`" + ` | milliseconds (3 digits), fraction of a second (1 to 9 digits, 6 are written) |
| ` + "`%b %B %a %A`" + ` | Jan, January, Mon, Monday |
| ` + "`%z %Z`" + ` | +0200 (also +02:00 and Z are read), the zone's abbreviation (written only) |
| ` + "`%s %%`" + ` | seconds since 1970, a percent sign |

## Aggregates and functions of the same name

` + "`sum`, `min`, `max`, `first`, `last`, `count`" + ` are aggregates over the records of a group and functions over one record. With a predicate
(` + "`sum(v.items, .price)`" + `) or several arguments (` + "`max(a, b)`" + `) they are functions. With one argument or none (` + "`count()`" + `) they are aggregates where there is a ` + "`group_by`" + `;
elsewhere they are functions when the argument is known to be a list, and refused otherwise. ` + "`avg`, `count_distinct`, `collect_list`" + ` and the like are always aggregates.
`
}
