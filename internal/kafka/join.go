package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
)

// joinAndSync speaks the protocol once through. meta is brought forward as the
// broker names the member and the generation.
func (g *group) joinAndSync(meta *engine.GroupMeta, self memberData) (assignmentData, error) {
	var none assignmentData
	l, err := g.link(g.ctx)
	if err != nil {
		return none, err
	}
	joined, err := g.sendJoin(l, meta, self)
	if err != nil {
		return none, err
	}
	sync := &sarama.SyncGroupRequest{
		Version: 5, GroupId: g.name, GenerationId: meta.Generation, MemberId: meta.Member, GroupInstanceId: instanceOf(*meta),
		ProtocolType: ptr(protocolType), ProtocolName: &joined.GroupProtocol,
	}
	if joined.LeaderId == joined.MemberId {
		if err := g.lead(joined, sync); err != nil {
			return none, err
		}
	}
	resp, err := call(g.ctx, l, (*sarama.Broker).SyncGroup, sync)
	if err != nil {
		g.alive = time.Now() // who waits is alive to the broker; join waits for us, and reads it then
		return none, err
	}
	if resp.Err != sarama.ErrNoError {
		return none, fmt.Errorf("sync with group %s: %w", g.name, resp.Err)
	}
	data, err := readAssignment(joined.GroupProtocol, resp)
	if err != nil {
		return none, err
	}
	if !data.Work.same(g.work) && data.Refused == "" {
		// A static member that comes back gets the assignment of its former life. Of
		// another pipeline's tasks it is of no use: leave, and join as somebody new.
		if err := g.sayGoodbye(g.ctx, l, *meta); err != nil {
			return none, err
		}
		meta.Member = ""
		return none, fmt.Errorf("join group %s: assignment of other tasks: %w", g.name, sarama.ErrUnknownMemberId)
	}
	if joined.GroupProtocol == protocolOne {
		// What was given to a former self that was to let go of something does not
		// say so in this protocol: who comes back asks once more.
		data.Rejoin = meta.Instance != "" && self.Generation == 0
		data.Acceptable, data.Facts = self.Acceptable, self.facts()
	}
	return data, nil
}

// sendJoin joins; a dynamic member gets its id first and joins with it then.
func (g *group) sendJoin(l *link, meta *engine.GroupMeta, self memberData) (*sarama.JoinGroupResponse, error) {
	for {
		req := &sarama.JoinGroupRequest{
			Version: 8, GroupId: g.name, MemberId: meta.Member, GroupInstanceId: instanceOf(*meta), ProtocolType: protocolType,
			SessionTimeout:   int32(g.c.set.SessionTimeout / time.Millisecond),
			RebalanceTimeout: int32(g.c.set.RebalanceTimeout / time.Millisecond),
		}
		for _, protocol := range g.c.protocols {
			if err := req.AddGroupProtocolMetadata(protocol, subscription(encodeMember(protocol, self), g.who.Tasks)); err != nil {
				return nil, fmt.Errorf("encode membership: %w", err)
			}
		}
		resp, err := call(g.ctx, l, (*sarama.Broker).JoinGroup, req)
		if err != nil {
			g.alive = time.Now() // as above
			return nil, err
		}
		switch {
		case resp.Err == sarama.ErrNoError:
			meta.Member, meta.Generation = resp.MemberId, resp.GenerationId
			return resp, nil
		case resp.Err == sarama.ErrMemberIdRequired && meta.Member == "":
			meta.Member = resp.MemberId
		case resp.Err == sarama.ErrInconsistentGroupProtocol:
			return nil, fmt.Errorf("join group %s: other consumers than this pipeline are members of it; give the pipeline a group of its own: %w", g.name, resp.Err)
		default:
			return nil, fmt.Errorf("join group %s: %w", g.name, permission(resp.Err, subject{group: g.name}))
		}
	}
}

// lead computes everybody's tasks.
func (g *group) lead(joined *sarama.JoinGroupResponse, sync *sarama.SyncGroupRequest) error {
	members, err := joined.GetMembers()
	if err != nil {
		return fmt.Errorf("read members of group %s: %w", g.name, err)
	}
	dealt := distribute(joined.GroupProtocol, g.work, g.who.Tasks, members)
	dealt.log(g.c.log, g.name, joined.GenerationId)
	for id, a := range dealt.assignments() {
		if err := sync.AddGroupAssignmentMember(id, a); err != nil {
			return fmt.Errorf("encode assignment: %w", err)
		}
	}
	return nil
}

// sayGoodbye takes this member out of the group.
func (g *group) sayGoodbye(ctx context.Context, l *link, meta engine.GroupMeta) error {
	resp, err := call(ctx, l, (*sarama.Broker).LeaveGroup, &sarama.LeaveGroupRequest{
		Version: 5, GroupId: g.name, MemberId: meta.Member,
		Members: []sarama.MemberIdentity{{MemberId: meta.Member, GroupInstanceId: instanceOf(meta)}},
	})
	if err != nil {
		return err
	}
	if resp.Err != sarama.ErrNoError && resp.Err != sarama.ErrUnknownMemberId {
		return resp.Err
	}
	return nil
}

func ptr[T any](v T) *T { return &v }
