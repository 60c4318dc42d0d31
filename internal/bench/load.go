package main

import (
	"context"
	"strings"
	"time"

	"streamctl/internal/testkit"
)

// Topics of the measurements.
const (
	viewsTopic    = "page-views"
	profilesTopic = "profile-edits"
	copyTopic     = "page-views-copy"
)

// load fills the topics of views and profiles once for all measurements.
func (b *bench) load(ctx context.Context, c *testkit.Cluster) error {
	b.progress("producing %d profiles and %d views", b.opts.profiles, b.opts.views)
	start := time.Now()
	if err := c.CreateTopic(ctx, viewsTopic, b.opts.partitions, "delete"); err != nil {
		return err
	}
	if err := c.CreateTopic(ctx, profilesTopic, b.opts.partitions, "compact"); err != nil {
		return err
	}
	data := testkit.NewData(testkit.DataConfig{Seed: 1, Profiles: b.opts.profiles})
	member := 0
	_, err := c.Produce(ctx, profilesTopic, func() (testkit.Message, bool) {
		if member++; member > b.opts.profiles {
			return testkit.Message{}, false
		}
		return data.Profile(member, 0), true
	})
	if err != nil {
		return err
	}
	left, total := b.opts.views, 0
	_, err = c.Produce(ctx, viewsTopic, func() (testkit.Message, bool) {
		if left--; left < 0 {
			return testkit.Message{}, false
		}
		m := data.View()
		total += len(m.Value)
		return m, true
	})
	if err != nil {
		return err
	}
	b.viewBytes = total / b.opts.views
	b.progress("  took %v", time.Since(start).Round(time.Millisecond))
	return nil
}

// count reads a topic to its end as committed, and returns the number of its
// records and of those whose value contains needle ("" = none does).
func count(ctx context.Context, c *testkit.Cluster, topic, needle string) (records, matching int64, err error) {
	err = c.Read(ctx, topic, func(m testkit.Message) {
		records++
		if needle != "" && strings.Contains(string(m.Value), needle) {
			matching++
		}
	})
	return records, matching, err
}
