// Package tables runs pipelines that join tables with each other, and streams
// with replicated and versioned tables, in real engines over the in-memory log,
// with faults and lost disks: in the end every output must hold what the join of
// the final tables holds. It has tests only, and no code for others to use.
package tables
