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

// promisesMark is what the promises of tasks upstream begin with, behind the stream time.
const promisesMark = " upstream="

// appendMetadata writes what is kept beside an offset: who committed it, "" =
// nobody to speak of, the stream time, 0 = none, and the promises.
func appendMetadata(id string, at position) string {
	if at.streamTime != 0 {
		id += streamTimeMark + strconv.FormatInt(at.streamTime, 10)
	}
	if at.promises != "" {
		id += promisesMark + at.promises
	}
	return id
}

// lastCommit reads a committed offset with its metadata.
func lastCommit(block *sarama.OffsetFetchResponseBlock) engine.LastCommit {
	metadata, promises, _ := strings.Cut(block.Metadata, promisesMark)
	out := engine.LastCommit{Offset: block.Offset, By: metadata, Promises: promises}
	id, text, found := strings.Cut(metadata, streamTimeMark)
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
