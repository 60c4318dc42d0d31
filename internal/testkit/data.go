// Package testkit holds what tests and benchmarks share: made-up page views and
// profiles, sequential models that say what a pipeline must give for an input,
// and the comparison of the two record by record. It must not be imported by
// the product, and knows the product only as a black box: topics in, topics out.
package testkit

import "streamctl/internal/sample"

// The data is that of `streamctl generate`.
type (
	Message    = sample.Message
	DataConfig = sample.Config
	Data       = sample.Data
)

// NewData makes the generator of one stream of views.
func NewData(cfg DataConfig) *Data { return sample.New(cfg) }

// ProfileEdit makes version v of a member's profile edit at a given time.
func ProfileEdit(member, v int, timeMs int64) Message { return sample.ProfileEdit(member, v, timeMs) }

// Tombstone deletes a member's profile.
func Tombstone(member int, timeMs int64) Message { return sample.Tombstone(member, timeMs) }
