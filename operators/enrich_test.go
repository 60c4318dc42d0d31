package operators_test

import "testing"

// enrichment is the pipeline of the language's whole-file example.
const enrichment = `
pipeline: profile-enrichment
sources:
  page_views:
    topic: page-views
    timestamp: seconds(timestamp)
    fields:
      viewerId: int
      viewedProfileId: int
      pageKey: string
      timestamp: int
tables:
  profiles:
    topic: profile-edits
    key: int(split(key, ":")[3])
    value: value.profile
streams:
  profile_views:
    from: page_views v
    where: v.pageKey == "profile-view"
    join:
      - left: profiles p
        on: v.viewerId == p.key
    select:
      - v.*
      - viewerProfile: '{jobTitle: p.positions[0].job_title, company: p.positions[0].company}'
sinks:
  enriched:
    from: profile_views
    topic: page-views-with-viewer-profile
    key: viewerId
`

func TestEnrichment(t *testing.T) {
	r := newRig(t, enrichment, nil)
	r.produce("profile-edits", "urn:linkedin:profile:1234", `{"profile":{"positions":[{"job_title":"Author","company":"ACME"}]}}`, 1)
	r.produce("page-views", "x", `{"viewerId":1234,"pageKey":"profile-view","timestamp":1413215518, "more": 1e400,"x":[1, 2]}`, 5)
	r.produce("page-views", "y", `{"viewerId":99,"pageKey":"profile-view","timestamp":1413215519}`, 6)
	r.produce("page-views", "z", `{"viewerId":1234,"pageKey":"home","timestamp":1413215519}`, 6)
	r.mustRun()
	expect(t, "outputs", r.values("page-views-with-viewer-profile"),
		`1234 {"viewerId":1234,"pageKey":"profile-view","timestamp":1413215518, "more": 1e400,"x":[1, 2],"viewerProfile":{"jobTitle":"Author","company":"ACME"}}`,
		`99 {"viewerId":99,"pageKey":"profile-view","timestamp":1413215519,"viewerProfile":{"jobTitle":null,"company":null}}`)
}
