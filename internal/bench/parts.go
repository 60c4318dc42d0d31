package main

import "context"

func (b *bench) joins(ctx context.Context, c *cluster, on string) error      { return nil }
func (b *bench) counts(ctx context.Context, c *cluster, on string) error     { return nil }
func (b *bench) restore(ctx context.Context, c *cluster, on string) error    { return nil }
func (b *bench) start(ctx context.Context, c *cluster, on string) error      { return nil }
func (b *bench) onEmbedded(ctx context.Context) error                       { return nil }
