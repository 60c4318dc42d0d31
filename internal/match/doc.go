// Package match finds, for a document, which of many stored queries it
// satisfies. It owns the grammar of queries, what a word is, and an index of
// queries by terms that their documents must have, so that a document is tested
// against few of many: the "presearcher" of Luwak (now Lucene Monitor).
//
// # Queries
//
//	query   = all { "OR" all }
//	all     = one { [ "AND" ] one }           words side by side must all occur
//	one     = [ "NOT" ] one | [ FIELD ":" ] ( "(" query ")" | WORD | PREFIX "*" | PHRASE )
//	PHRASE  = '"' words in this order, next to each other '"'
//
// NOT binds closer than AND, and AND closer than OR. The operators are written
// in capitals; "and", "or", "not" are words. A field holds for the term or the
// parentheses behind it; a term without one may occur in any field of the document.
//
// # Words
//
// Text is cut into words by the default rules of Unicode Standard Annex #29
// (library uax29); what has neither letter nor digit is no word. Words are equal
// when they are so without regard to case and form: both sides go through NFKC,
// full case folding, and NFKC again. There is no stemming and there are no
// stop words. What the rules cut into several words, such as "foo-bar" or Chinese
// text, is searched as a phrase.
//
// The package must not know where queries and documents come from. Nothing in
// it is safe for use by several goroutines, save a parsed Query, which is immutable.
package match
