// Package sample makes up page views and profile edits as a social network
// would send them, for `generate`, for tests and for benchmarks. Equal
// configurations make equal data. It knows nothing of brokers and pipelines.
package sample

import (
	"math/rand/v2"
	"strconv"
)

// Message is a record to be produced.
type Message struct {
	Partition int32 // -1 = by the key
	Offset    int64 // of a record that was read
	Key       []byte
	Value     []byte
	Time      int64 // ms
}

// Config says what Data makes; zero fields take defaults.
type Config struct {
	Seed     uint64
	Profiles int     // members with a profile, numbered from 1; 0 = 100 000
	Viewers  int     // members who view, numbered from 1; 0 = Profiles, more = some have no profile
	Skew     float64 // exponent of the Zipf distribution of viewers, above 1; 0 = 1.1
	StartMs  int64   // event time of the first view; 0 = Mon 2014-10-13 15:51:58 UTC
	PerSec   int     // views per second of event time; 0 = 1000
}

// Data makes page views and profile edits as a social network would send
// them: views in the order of their time, their viewers by a Zipf distribution.
// Equal configurations make equal data.
type Data struct {
	cfg    Config
	rand   *rand.Rand
	zipf   *rand.Zipf
	member []int32 // rank in the distribution -> member, so that neighbours in number are not neighbours in use
	views  int
}

const talkTimeMs = 1413215518000

// New makes the generator of one stream of views.
func New(cfg Config) *Data {
	if cfg.Profiles == 0 {
		cfg.Profiles = 100_000
	}
	if cfg.Viewers == 0 {
		cfg.Viewers = cfg.Profiles
	}
	if cfg.Skew == 0 {
		cfg.Skew = 1.1
	}
	if cfg.StartMs == 0 {
		cfg.StartMs = talkTimeMs
	}
	if cfg.PerSec == 0 {
		cfg.PerSec = 1000
	}
	r := rand.New(rand.NewPCG(cfg.Seed, 0x57ea))
	d := &Data{cfg: cfg, rand: r, zipf: rand.NewZipf(r, cfg.Skew, 1, uint64(cfg.Viewers-1)), member: make([]int32, cfg.Viewers)}
	for i, m := range r.Perm(cfg.Viewers) {
		d.member[i] = int32(m + 1)
	}
	return d
}

// View makes the next page view: about 190 bytes of JSON, keyed by the
// viewer's number as text.
func (d *Data) View() Message {
	viewer := d.member[d.zipf.Uint64()]
	viewed := 1 + d.rand.IntN(d.cfg.Viewers)
	timeMs := d.cfg.StartMs + int64(d.views)*1000/int64(d.cfg.PerSec)
	buf := make([]byte, 0, 208)
	buf = strconv.AppendInt(buf, int64(viewer), 10)
	n := len(buf)
	buf = append(buf, `{"eventType":"PageViewEvent","timestamp":`...)
	buf = strconv.AppendInt(buf, timeMs/1000, 10)
	buf = append(buf, `,"viewerId":`...)
	buf = strconv.AppendInt(buf, int64(viewer), 10)
	buf = append(buf, `,"sessionId":"`...)
	buf = appendHex(buf, d.rand.Uint64())
	buf = append(buf, `","pageKey":"profile-view","viewedProfileId":`...)
	buf = strconv.AppendInt(buf, int64(viewed), 10)
	buf = append(buf, `,"trackingKey":"`...)
	buf = append(buf, trackingKeys[d.rand.IntN(len(trackingKeys))]...)
	buf = append(buf, `","seq":`...)
	buf = strconv.AppendInt(buf, int64(d.views), 10)
	buf = append(buf, '}')
	d.views++
	return Message{Partition: -1, Key: buf[:n:n], Value: buf[n:], Time: timeMs}
}

// Profile makes version v of a member's profile edit, keyed by URN. Its time
// lies before the first view for version 0, and v seconds after it else.
func (d *Data) Profile(member, v int) Message {
	timeMs := d.cfg.StartMs - 3600_000
	if v > 0 {
		timeMs = d.cfg.StartMs + int64(v)*1000
	}
	return ProfileEdit(member, v, timeMs)
}

// ProfileEdit makes version v of a member's profile edit at a given time.
func ProfileEdit(member, v int, timeMs int64) Message {
	h := uint64(member)*0x9e3779b97f4a7c15 + uint64(v)*0xff51afd7ed558ccd
	h ^= h >> 29
	buf := make([]byte, 0, 256)
	buf = append(buf, "urn:linkedin:profile:"...)
	buf = strconv.AppendInt(buf, int64(member), 10)
	n := len(buf)
	buf = append(buf, `{"eventType":"ProfileEditEvent","timestamp":`...)
	buf = strconv.AppendInt(buf, timeMs/1000, 10)
	buf = append(buf, `,"profile":{"location":"`...)
	buf = append(buf, locations[h%uint64(len(locations))]...)
	buf = append(buf, `","industry":"`...)
	buf = append(buf, industries[(h>>8)%uint64(len(industries))]...)
	buf = append(buf, `","positions":[{"job_title":"`...)
	buf = append(buf, titles[(h>>16)%uint64(len(titles))]...)
	buf = append(buf, " v"...)
	buf = strconv.AppendInt(buf, int64(v), 10)
	buf = append(buf, `","company":"Company `...)
	buf = strconv.AppendUint(buf, (h>>24)%5000, 10)
	buf = append(buf, `"}]}}`...)
	return Message{Partition: -1, Key: buf[:n:n], Value: buf[n:], Time: timeMs}
}

// Tombstone deletes a member's profile.
func Tombstone(member int, timeMs int64) Message {
	return Message{Partition: -1, Key: strconv.AppendInt([]byte("urn:linkedin:profile:"), int64(member), 10), Time: timeMs}
}

var (
	trackingKeys = []string{"invitation-email", "google", "homepage", "people-you-may-know", "search"}
	locations    = []string{"San Francisco Bay Area", "Berlin, Germany", "London, United Kingdom", "Bengaluru, India"}
	industries   = []string{"Computer Software", "Design", "Internet", "Information Services"}
	titles       = []string{"Author", "Software Engineer", "Product Designer", "Data Scientist", "Site Reliability Engineer"}
)

func appendHex(b []byte, v uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[v>>shift&15])
	}
	return b
}
