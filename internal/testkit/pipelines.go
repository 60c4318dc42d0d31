package testkit

// The pipelines that the models belong to; %[1]s makes names unique, that of
// the pipeline and those of its topics NAME-views, NAME-profiles and NAME-out.

// JoinPipeline is what JoinModel computes.
const JoinPipeline = `pipeline: %[1]s
commit_interval: 20ms
sources:
  page_views:
    topic: %[1]s-views
    timestamp: seconds(timestamp)
    partitioned_by: viewerId
    fields: {viewerId: int, timestamp: int}
tables:
  profiles:
    topic: %[1]s-profiles
    key: int(split(key, ":")[3])
    value: value.profile
streams:
  enriched:
    from: page_views v
    join:
      - left: profiles p
        on: v.viewerId == p.key
    select:
      - v.*
      - jobTitle: p.positions[0].job_title
      - company: p.positions[0].company
sinks:
  out:
    from: enriched
    topic: %[1]s-out
    key: viewerId
`

// RunningPipeline is what RunningModel computes.
const RunningPipeline = `pipeline: %[1]s
commit_interval: 20ms
sources:
  page_views:
    topic: %[1]s-views
    timestamp: seconds(timestamp)
    partitioned_by: viewerId
    fields: {viewerId: int, viewedProfileId: int, timestamp: int}
tables:
  activity:
    from: page_views v
    group_by: v.viewerId
    select:
      - viewerId: v.viewerId
      - views: count()
      - total: sum(v.viewedProfileId)
      - lowest: min(v.viewedProfileId)
      - highest: max(v.viewedProfileId)
sinks:
  out:
    from: activity
    topic: %[1]s-out
    key: viewerId
`
