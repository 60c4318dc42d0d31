package expr

import "testing"

func TestPredicates(t *testing.T) {
	cases{
		{`all(v.ints, # > 0)`, `true`}, {`all(v.ints, # > 1)`, `false`}, {`all([], false)`, `true`}, {`all(v.noList, true)`, `null`}, {`all([1, nil], # > 0)`, `false`},
		{`any(v.ints, # > 2)`, `true`}, {`any(v.items, .p > 3)`, `true`}, {`any([], true)`, `false`}, {`any(v.noList, true)`, `null`}, {`any([nil], # == 1)`, `false`},
		{`none(v.ints, # > 5)`, `true`}, {`none(v.ints, # > 2)`, `false`}, {`none(v.noList, true)`, `null`}, {`one(v.ints, # > 2)`, `true`}, {`one(v.ints, # > 1)`, `false`}, {`one(v.noList, true)`, `null`},
		{`filter(v.ints, # != 1)`, `[3,2]`}, {`filter(v.items, .p != nil)`, `[{"n":1,"p":2.5},{"n":3,"p":4}]`}, {`filter(v.noList, true)`, `null`}, {`filter(v.ints, nil)`, `[]`},
		{`map(v.items, .n * 10)`, `[10,20,30]`}, {`map(v.items, .p)`, `[2.5,null,4]`}, {`map(v.ints, #index)`, `[0,1,2]`}, {`map(v.noList, #)`, `null`}, {`map(v.ints, ({x: #, y: [#]}))`, `[{"x":3,"y":[3]},{"x":1,"y":[1]},{"x":2,"y":[2]}]`},
		{`count(v.ints, # > 1)`, `2`}, {`count(v.noList, true)`, `null`}, {`sum(v.items, .n)`, `6`}, {`sum(v.items, .p)`, `6.5`}, {`sum(v.noList, 1)`, `null`}, {`sum([], #)`, `0`}, {`sum(v.anyList, #)`, `error: sum: want a number, got string "x"`},
		{`find(v.items, .n == 2).n`, `2`}, {`find(v.ints, # > 9)`, `null`}, {`findIndex(v.ints, # == 2)`, `2`}, {`findIndex(v.ints, # == 9)`, `null`},
		{`findLast(v.ints, # > 1)`, `2`}, {`findLastIndex(v.ints, # > 1)`, `2`}, {`find(v.noList, true)`, `null`}, {`findLast(v.noList, true)`, `null`},
		{`sortBy(v.items, -.n)`, `[{"n":3,"p":4},{"n":2,"p":null},{"n":1,"p":2.5}]`}, {`map(sortBy(v.items, .p), .n)`, `[1,3,2]`}, {`map(sortBy(v.items, .p, "desc"), .n)`, `[3,1,2]`}, {`sortBy(v.noList, #)`, `null`}, {`sortBy(v.anyList, #)`, `error: cannot compare`},
		{`groupBy(v.ints, string(# > 1))`, `{"true":[3,2],"false":[1]}`}, {`groupBy(v.ints, #)`, `{"3":[3],"1":[1],"2":[2]}`}, {`groupBy([1, nil], #)`, `{"1":[1]}`}, {`groupBy(v.noList, "x")`, `null`},
		{`reduce(v.ints, #acc + #, 0)`, `6`}, {`reduce(v.ints, #acc + #)`, `6`}, {`reduce([], #acc, 5)`, `5`}, {`reduce(v.ints[9:], #acc + #)`, `error: reduce of empty array`}, {`reduce(v.noList, #acc, 1)`, `null`},
		{`map(v.ints, count(v.ints, # > 1))`, `[2,2,2]`}, {`map(v.items, map([.n, .n + 1], # * 2))`, `[[2,4],[4,6],[6,8]]`}, {`filter(v.ints, # in v.ints && any(v.ints, # == 2))`, `[3,1,2]`},
		{`let x = v.i; x + x`, `14`}, {`let x = v.i; let y = x + 1; map(v.ints, # * y)`, `[24,8,16]`}, {`let x = 1; let x = x + 1; x`, `2`}, {`map(v.ints, let d = # * 2; d + #index)`, `[6,3,6]`}, {`let n = v.noInt; n == nil`, `true`}, {`1 + (let q = 2; q * q)`, `5`},
		{`v.ints | filter(# > 1) | map(# * 2)`, `[6,4]`}, {`v.o.b.c | sum(#)`, `30`}, {`any(v.any, true)`, `error: want a list, got string "text"`}, {`any(v.anyList, # + 1 > 1)`, `true`}, {`all(v.anyList, # + 1 > 1)`, `error: +: `},
		// What random tests found: expr-lang's findLast leaves a bool on the stack
		// when nothing is found, and its reduce looks at the start from within the loop.
		{`coalesce(findLastIndex([], #), v.no)`, `null`}, {`[1, findLast(v.ints, # > 9), 2]`, `[1,null,2]`}, {`map(v.items, reduce([1, 2], #acc + #, .n))`, `[4,5,6]`},
		// A loop of the machine in one of closures, and the other way round.
		{`map(v.items, reduce([.n, 1], #acc + # + #index, 0))`, `[3,4,5]`}, {`reduce(v.items, #acc + count(v.ints, # > 1) * #.n, 0)`, `12`}, {`map(v.ints, sortBy([#, 0, 5], #)[1])`, `[3,1,2]`}, {`map(v.ints, (let k = #; filter(v.ints, # < k)))`, `[[1,2],[],[1]]`},
	}.run(t)
}
