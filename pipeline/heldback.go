package pipeline

import "time"

// How long records are held back on their way, and what follows from that for
// those who look at time behind (ADR 50, ADR 121).

// heldBack is how long the rows of a table wait at most before they are given out:
// windows that are given out when they close.
func (d *Def) heldBack() time.Duration {
	if !d.windowed() || !d.Window.Final {
		return 0
	}
	w := d.Window
	switch w.Kind {
	case SessionWindow, SlidingWindow:
		return w.Span + time.Millisecond + w.Grace
	}
	return time.Duration(w.Grid.Longest())*time.Millisecond + w.Grace
}

// keepHistories lets tables keep their history for as much longer as records are
// held back in front of the joins that ask for it: these ask as of the record's
// time, which has passed by then.
func (p *planner) keepHistories() {
	lags := map[*StreamJoinPlan]time.Duration{} // at a join, of the side that is held back longer
	for again := true; again; {
		again = false
		for _, part := range p.parts {
			if part.into != nil {
				continue
			}
			for _, in := range part.inputs {
				again = p.heldAlong(in.Steps, in.Lag, lags) || again
			}
		}
	}
}

// heldAlong follows steps whose records have been held back by lag; true =
// something new was found out.
func (p *planner) heldAlong(steps []*Step, lag time.Duration, lags map[*StreamJoinPlan]time.Duration) (news bool) {
	for _, s := range steps {
		behind := lag
		switch s.Kind {
		case DelayStep:
			behind += s.Def.Joins[s.Join].Wait
		case StreamJoinStep:
			if known, met := lags[s.Stream]; !met || known < lag {
				lags[s.Stream], news = lag, true
			}
			behind = lags[s.Stream] + s.Def.Joins[s.Join].heldBack()
		case GroupStep:
			behind += s.Def.heldBack()
		case JoinStep:
			j := s.Def.Joins[s.Join]
			in := p.readers[j.Def]
			if before := lag - j.Wait; j.AsOf && in != nil && in.Held < before {
				in.Held, news = before, true
			}
		}
		news = p.heldAlong(s.Next, behind, lags) || news
	}
	return news
}
