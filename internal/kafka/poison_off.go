//go:build !race

package kafka

// poison is on when tests look for races.
const poison = false
