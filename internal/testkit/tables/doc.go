// Package tables runs pipelines that join tables with each other, streams
// with replicated and versioned tables, and streams with streams, in real engines over the
// in-memory log, with faults and lost disks: in the end every output must hold what the
// join of the final tables holds, or every pair of records once. It has tests only, and no code for others to use.
package tables
