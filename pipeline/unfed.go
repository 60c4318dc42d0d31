package pipeline

import "slices"

// unfed are the inputs of the sub-topology that never lead to an output, although they
// come from it: nobody would know the ends of topics that go in a circle.
func (b *binder) unfed(topic string) []string {
	return append(b.unfedAnswers(topic), b.unfedDetours(topic)...)
}

// unfedDetours: what a join with one of the sub-topology's tables sends to another one of
// them, by another key, leads on from there and not to the topic that it has come by.
func (b *binder) unfedDetours(topic string) (out []string) {
	for _, in := range b.sub.Inputs {
		if in.Kind == RepartitionInput && !writes(in, topic) && b.leads(topic, in.Topic, map[string]bool{}) {
			out = append(out, in.Topic)
		}
	}
	return out
}

// writes says whether a record of the input may become one of the topic.
func writes(in *InputPlan, topic string) (found bool) {
	eachStep(in.Steps, func(s *Step) { found = found || s.Topic == topic })
	return found
}

// leads says whether records of a topic become, over whatever steps, some of another.
func (b *binder) leads(from, to string, seen map[string]bool) bool {
	if from == to {
		return true
	}
	seen[from] = true
	for _, sub := range b.plan.Subs {
		for _, in := range sub.Inputs {
			if in.Topic != from {
				continue
			}
			found := false
			eachStep(in.Steps, func(s *Step) {
				found = found || s.Topic != "" && !seen[s.Topic] && b.leads(s.Topic, to, seen)
			})
			if found {
				return true
			}
		}
	}
	return false
}

// unfedAnswers: a foreign-key join's topics go in a circle. What a definition sends does
// not come from the joins of definitions behind it.
func (b *binder) unfedAnswers(topic string) []string {
	rank := -1
	place := func(d *Def, join, kind int) int {
		return (slices.Index(b.plan.typed.Order, d)*(maxJoins+1)+join)*2 + kind
	}
	for _, in := range b.sub.Inputs {
		eachStep(in.Steps, func(s *Step) {
			if s.Topic != topic {
				return
			}
			switch s.Kind {
			case ForeignStep:
				rank = max(rank, place(s.Def, s.Join, 0))
			case ForeignAnswerStep:
				rank = max(rank, place(s.Def, s.Join, 1))
			default:
				rank = max(rank, place(s.Def, maxJoins, 1))
			}
		})
	}
	var out []string
	for _, in := range b.sub.Inputs {
		switch {
		case rank < 0 || !in.foreignInput():
		case in.Kind == SubscriptionInput && place(in.Def, in.Join, 1) > rank,
			in.Kind == AnswerInput && place(in.Def, in.Join, 1) >= rank:
			out = append(out, in.Topic)
		}
	}
	return out
}

// maxJoins is more than one definition has.
const maxJoins = 1 << 12
