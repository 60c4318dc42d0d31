package testkit

import (
	"fmt"
	"regexp"
	"strconv"
	"sync/atomic"
)

// LiveJoin is the model of a join whose table changes while it is read: what
// version a view meets is not determined, but it must be one, and never an
// older one than the view before it met.
//
// Use: produce Profiles before the start, Edit's messages while it runs (from one
// goroutine), when all is processed LastViews; then give every output to Output,
// ask Faults, and compare with View.
type LiveJoin struct {
	profiles, edited int
	model            *JoinModel
	sent             atomic.Int64    // edits made so far
	met              map[int64][]int // member -> version that each of its views met, in order
	at               map[int64]int   // how many of them are used up
	now              map[int64]int   // version that the model holds
}

// NewLiveJoin has that many profiles, of which the first so many are edited live.
func NewLiveJoin(profiles, edited int) *LiveJoin {
	return &LiveJoin{profiles: profiles, edited: edited, model: NewJoinModel(),
		met: make(map[int64][]int), at: make(map[int64]int), now: make(map[int64]int)}
}

// Profiles are those there are before the first start: some in an old and a new
// version, some deleted again.
func (l *LiveJoin) Profiles() ([]Message, error) {
	var edits []Message
	for m := 1; m <= l.profiles; m++ {
		edits = append(edits, ProfileEdit(m, 0, 1413000000000))
		if m > l.edited && m%3 == 0 {
			edits = append(edits, ProfileEdit(m, 1, 1413000001000))
		}
		if m > l.edited && m%7 == 0 {
			edits = append(edits, Tombstone(m, 1413000002000))
		}
	}
	for _, e := range edits {
		if err := l.model.Edit(e); err != nil {
			return nil, err
		}
	}
	return edits, nil
}

// Edit makes the next version of the next edited member.
func (l *LiveJoin) Edit() Message {
	n := int(l.sent.Add(1)) - 1
	return ProfileEdit(1+n%l.edited, 1+n/l.edited, 1413215519000)
}

// LastViews are one view of every edited member; they must meet the last version.
func (l *LiveJoin) LastViews() (views []Message) {
	for m := 1; m <= l.edited; m++ {
		views = append(views, Message{Key: fmt.Append(nil, m), Value: fmt.Appendf(nil, `{"viewerId":%d,"timestamp":1500000000,"last":true}`, m), Time: 1500000000000})
	}
	return views
}

var versionIn = regexp.MustCompile(`"jobTitle":"[^"]* v([0-9]+)"`)
var viewerIn = regexp.MustCompile(`"viewerId":([0-9]+)`)

func viewer(value []byte) int64 {
	m := viewerIn.FindSubmatch(value)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return n
}

// Output takes from an output which version the view met, where its member is
// edited; everything else about it is left to the comparison.
func (l *LiveJoin) Output(m Message) {
	who := viewer(m.Value)
	if v := versionIn.FindSubmatch(m.Value); v != nil && who <= int64(l.edited) {
		n, _ := strconv.Atoi(string(v[1]))
		l.met[who] = append(l.met[who], n)
	}
}

// Faults are the steps back to an older version, the last views that did not
// meet the last version, and that no view met an edit at all.
func (l *LiveJoin) Faults() (faults []string) {
	changes := 0
	for who, met := range l.met {
		for i := 1; i < len(met); i++ {
			if met[i] < met[i-1] {
				faults = append(faults, fmt.Sprintf("member %d: view %d met version %d after version %d", who, i, met[i], met[i-1]))
			}
			if met[i] != met[i-1] {
				changes++
			}
		}
		if want := l.lastVersion(who); met[len(met)-1] != want {
			faults = append(faults, fmt.Sprintf("member %d: the last view met version %d, not %d", who, met[len(met)-1], want))
		}
	}
	if changes == 0 {
		faults = append(faults, "no view met an edited profile: this shows too little")
	}
	return faults
}

// lastVersion is the newest one that was made for a member.
func (l *LiveJoin) lastVersion(member int64) int {
	n := int(l.sent.Load())
	if i := int(member) - 1; n > i {
		return (n-i-1)/l.edited + 1
	}
	return 0
}

// View brings the model to the version that this view met, and asks it.
func (l *LiveJoin) View(m Message) (Output, error) {
	who := viewer(m.Value)
	if met, i := l.met[who], l.at[who]; who <= int64(l.edited) && i < len(met) {
		l.at[who]++
		if v := met[i]; v != l.now[who] {
			l.now[who] = v
			if err := l.model.Edit(ProfileEdit(int(who), v, 0)); err != nil {
				return Output{}, err
			}
		}
	}
	return l.model.View(m)
}
