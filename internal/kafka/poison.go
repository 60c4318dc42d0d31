//go:build race

package kafka

// poison overwrites memory that nobody is to use any more, when tests look for races:
// who does use it reads nonsense, and is a race besides.
const poison = true
