package kafka

import (
	"context"
	"strconv"
	"strings"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// streamTimeMark is what the stream time of a task begins with in the metadata of
// a committed offset, behind the transactional id: `<id> stream-time=<ms>`. Neither
// need be there; what earlier versions wrote is the id alone.
const streamTimeMark = " stream-time="

// appendMetadata writes what is kept beside an offset: who committed it, "" =
// nobody to speak of, and the stream time, 0 = none.
func appendMetadata(id string, streamTime int64) string {
	if streamTime == 0 {
		return id
	}
	return id + streamTimeMark + strconv.FormatInt(streamTime, 10)
}

// lastCommit reads a committed offset with its metadata.
func lastCommit(block *sarama.OffsetFetchResponseBlock) engine.LastCommit {
	out := engine.LastCommit{Offset: block.Offset, By: block.Metadata}
	id, text, found := strings.Cut(block.Metadata, streamTimeMark)
	if !found {
		return out
	}
	out.By = id
	out.StreamTime, _ = strconv.ParseInt(text, 10, 64) // whatever else is there is not ours
	return out
}

// LastCommitted implements engine.Admin. The committer is the metadata that
// our producers write beside every offset they commit.
func (a *Admin) LastCommitted(ctx context.Context, tps []record.TopicPartition) (map[record.TopicPartition]engine.LastCommit, error) {
	if len(tps) == 0 {
		return map[record.TopicPartition]engine.LastCommit{}, nil
	}
	return a.readOffsets(ctx, byTopic(tps), false)
}
