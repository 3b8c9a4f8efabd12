// Package node is one Tutti node as a state machine: Step feeds it an event
// and returns its effects. It decides everything and does nothing: no
// goroutine, clock, socket or disk. live runs it for real, sim runs hundreds
// of it in virtual time. node alone knows proposer, leader, validator and
// consensus at once.
//
//	client ─ Submitted ─▶ pool ─▶ UserBlock ─▶ Send shreds
//	peers ─ Received shreds ─▶ collector ─▶ Work ─▶ blocks ─▶ vote ─▶ Save, Send
//	                                                  └─▶ Execute ─▶ Executed
package node

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"time"

	"tutti/bank"
	"tutti/cluster"
	"tutti/consensus"
	"tutti/internal/planted"
	"tutti/leader"
	"tutti/ledger"
	"tutti/proposer"
	"tutti/repair"
	"tutti/shred"
	"tutti/turbine"
	"tutti/validator"
)

// Config is what a node is made from.
type Config struct {
	Genesis  *cluster.Genesis
	Identity ed25519.PrivateKey
	// VoteAccount is the account that this node votes for; the zero key for
	// a node that does not vote. Identity is its authority.
	VoteAccount ledger.Pubkey
	Contact     cluster.Contact // own addresses; signed by New
	Rand        *rand.Rand      // local choices: gossip and repair peers
	Recovered   Recovered
	Bank        *bank.View // of the newest executed block that the executor has
	Now         time.Time
	// Restart is a record that the operator gives, with which a cluster that
	// has halted goes on; nil for none. Bank must know of it: see HardForks.
	Restart *cluster.Restart
	// VerifySigner checks a signature of the root of an FEC set; nil stands for
	// genesis' signature rule. A simulation of many nodes checks each once.
	VerifySigner func(signer ledger.Pubkey, root ledger.Hash, signature ledger.Signature) bool
}

// SetsMax bounds the FEC sets that are kept in memory.
const SetsMax = 16_384

// Node is the state machine. It belongs to one goroutine.
type Node struct {
	cfg          Config
	params       *cluster.Params
	self         ledger.Pubkey
	genesisHash  ledger.Hash
	shredVersion uint16 // of what is made now
	// genesisVersion is that before the first restart.
	genesisVersion uint16
	restarts       []*cluster.Restart // of the cluster, oldest first
	unsaved        *cluster.Restart   // of them, nil if there is none
	schedule       *cluster.Schedule
	epochs         *consensus.Epochs
	rng            *rand.Rand
	now            time.Time
	out            []Effect

	// Data plane.
	collector *turbine.Collector
	slimmed   ledger.Slot // sets of keys below it have lost their shreds
	trees     treeCache
	resigned  map[ledger.Hash]ledger.Slot // retransmitters' signatures that verified
	keys      map[ledger.SlotKey]*keyState
	progress  map[ledger.Hash]*validator.Progress // by root of the last set taken
	checking  map[ledger.Hash]*checkingSet        // leader sets that are being verified
	dead      map[ledger.Hash]invalid             // roots of sets of invalid blocks
	waiting   map[ledger.Hash][]*shred.Set        // leader sets that wait for the one with that root
	early     []*shred.Set                        // stored sets that wait for the stakes of their epoch
	held      map[ledger.UserBlockRef]*heldUserBlock
	unchecked map[ledger.Hash][]ledger.UserBlockRef // by anchor that is unknown
	wanting   map[ledger.UserBlockRef][]*validator.Block
	fewVoted  map[ledger.Slot][]ledger.Hash // blocks that are wanted though few have voted for them
	// deleted counts what has left the maps of these names (churn.Renew).
	deleted struct{ keys, held, inMade int }

	// Consensus lane.
	rules    *validator.Rules
	forks    *validator.Forks
	choice   *consensus.ForkChoice
	tower    *consensus.Tower
	tally    *consensus.Tally
	ballots  map[ledger.Pubkey]*ballotBox
	voteDue  bool
	lastVote VoteMessage
	votedAt  time.Time
	isVoter  bool
	behind   bool             // may lack blocks that others voted for: started late, or was cut off
	since    ledger.Slot      // of the start, or when it was last found to be behind
	newest   *validator.Block // newest confirmed block that is held
	newestAt ledger.Slot      // of the own clock, when it became that
	rooted   *validator.Block // by the tower
	final    ledger.Slot      // highest that is finalised, on the fork of rooted
	// othersRoot is the slot up to which others have rooted, on whatever fork.
	othersRoot ledger.Slot
	stateAt    ledger.Slot // of the last Root effect that carried a state

	// Production.
	pool         *proposer.Pool
	nonces       []*proposer.Pooled // durable ones in the pool, to relay when their lane moves on
	relayedUser  ledger.UserSlot    // in which they were last looked at
	recentDone   *recentMessages
	seenFees     map[ledger.Pubkey]ledger.Lamports
	making       *proposer.Builder
	makingOn     *validator.Block // its anchor
	made         []*madeUserBlock
	inMade       map[ledger.Hash]bool // message hashes of the transactions in made
	begunUser    ledger.UserSlot
	triedTick    uint64 // in which the pool was last looked through
	leading      *leader.Builder
	leadTip      leadState
	begunSlot    ledger.Slot
	toldSkip     bool // that too many slots were skipped since it made a block
	equivocating map[ledger.SlotKey]bool
	proofs       []EvidenceMessage // of slots above the root, to be repeated
	repeated     repetition

	// Execution lane.
	executing *validator.Block
	view      *bank.View                    // of the block executed last
	links     map[ledger.BlockRef]bank.Link // of executed blocks
	voided    bool                          // the result of executing is void
	agreement *consensus.Agreement
	agreeDue  bool
	agreed    Agreed
	certified *validator.Block // newest, on the fork where it was found last
	unsure    *validator.Block // oldest above it that is executed

	// Where BankHashes differ.
	health     Health
	halted     *Halt // of an earlier run, to be reported
	retries    int   // how often blocks up to wrongSlot were executed again
	wrongSlot  ledger.Slot
	stalledAt  ledger.Slot // since when Stalled
	stoppedAt  ledger.Slot // since when Wrong or Halted
	reportedAt ledger.Slot // of the last signed report
	proof      []Message   // both sides' votes, which others are told
	toldAt     ledger.Slot // when they were
	// stakes are those of coming epochs, by the block that decides them, until
	// it is confirmed.
	stakes map[ledger.BlockRef][]*cluster.EpochStakes

	// Peers.
	contacts   *cluster.Contacts
	contactAt  time.Time
	planner    *repair.Planner
	answered   map[ledger.Pubkey]int // requests answered in this round
	nextRepair time.Time
	inVain     bool // what was asked for often is being asked for again
	vainTurn   int  // whose turn it is then
	nextGossip time.Time
	head       Head
}

// New returns a node that has seen nothing but its genesis and what it
// recovered.
func New(cfg Config) (*Node, error) {
	g := cfg.Genesis
	n := &Node{
		cfg:            cfg,
		params:         &g.Params,
		self:           ledger.Pubkey(cfg.Identity.Public().(ed25519.PublicKey)),
		genesisHash:    g.Hash(),
		shredVersion:   g.ShredVersion(),
		genesisVersion: g.ShredVersion(),
		schedule:       cluster.NewSchedule(g),
		rng:            cfg.Rand,
		now:            cfg.Now,
		resigned:       make(map[ledger.Hash]ledger.Slot),
		keys:           make(map[ledger.SlotKey]*keyState),
		progress:       make(map[ledger.Hash]*validator.Progress),
		checking:       make(map[ledger.Hash]*checkingSet),
		dead:           make(map[ledger.Hash]invalid),
		waiting:        make(map[ledger.Hash][]*shred.Set),
		held:           make(map[ledger.UserBlockRef]*heldUserBlock),
		unchecked:      make(map[ledger.Hash][]ledger.UserBlockRef),
		wanting:        make(map[ledger.UserBlockRef][]*validator.Block),
		fewVoted:       make(map[ledger.Slot][]ledger.Hash),
		ballots:        make(map[ledger.Pubkey]*ballotBox),
		pool:           proposer.NewPool(proposer.PoolMax),
		recentDone:     newRecentMessages(),
		inMade:         make(map[ledger.Hash]bool),
		seenFees:       make(map[ledger.Pubkey]ledger.Lamports),
		equivocating:   make(map[ledger.SlotKey]bool),
		answered:       make(map[ledger.Pubkey]int),
		stakes:         make(map[ledger.BlockRef][]*cluster.EpochStakes),
		links:          make(map[ledger.BlockRef]bank.Link),
		view:           cfg.Bank,
	}
	n.epochs = consensus.NewEpochs(n.schedule)
	n.rules = &validator.Rules{Params: n.params, Stakes: n.epochs.At}
	state := cfg.Recovered.State
	if state == nil {
		state = n.genesisState()
	}
	if cfg.Bank.Ref() != state.Root() {
		return nil, fmt.Errorf("bank is at %v, but the consensus lane's root is %v", cfg.Bank.Ref(), state.Root())
	}
	root, err := n.plant(state, cfg.Bank.BankHash())
	if err != nil {
		return nil, err
	}
	n.forks = validator.NewForks(n.params, root)
	n.choice = consensus.NewForkChoice(root.BlockRef, n.epochs)
	n.choice.SetCandidate(root.BlockRef, true)
	n.tally = consensus.NewTally(root.BlockRef, n.epochs)
	n.final = state.Final
	n.newest, n.rooted, n.certified, n.stateAt = root, root, root, root.Slot
	if cfg.VoteAccount != (ledger.Pubkey{}) {
		i, ok := n.epochs.At(0).Voter(cfg.VoteAccount)
		if !ok {
			return nil, fmt.Errorf("vote account %v has no stake in genesis", cfg.VoteAccount)
		}
		if a := n.epochs.At(0).Items[i].Authority; a != n.self {
			return nil, fmt.Errorf("vote account %v has authority %v, not this node's identity %v", cfg.VoteAccount, a, n.self)
		}
		n.isVoter = true
	}
	if err := n.takeRestarts(cfg.Recovered.Restarts, cfg.Restart); err != nil {
		return nil, err
	}
	n.collector = turbine.NewCollector(turbine.Limits{UserSetsMax: n.params.FECSetsMax, SetsMax: SetsMax})
	n.planner = repair.NewPlanner()
	n.agreement = consensus.NewAgreement(root.BlockRef, root.BankHash, n.epochs)
	n.since = n.slot()
	n.behind = n.since > root.Slot+listenSlots
	n.renewContact()
	if err := n.restore(cfg.Recovered); err != nil {
		return nil, err
	}
	// A view keeps all blocks after its own in memory, so that it can be read.
	n.cfg.Bank, n.cfg.Recovered, n.cfg.Restart = nil, Recovered{}, nil
	return n, nil
}

// Self returns the node's identity.
func (n *Node) Self() ledger.Pubkey { return n.self }

// Usage is how much a node keeps in memory of what others send.
type Usage struct {
	Keys     int // slot fields of which shreds have come; at most turbine.KeysMax
	Sets     int // FEC sets with shreds, whole or not; at most SetsMax
	Waiting  int // sets of leader blocks that follow an unknown set or block
	Held     int // UserBlocks of which all sets are here
	Unjudged int // those of them whose anchor is unknown
	Wanted   int // UserBlocks that blocks name, and that are not here or not judged
	Contacts int // records of other nodes; at most cluster.ContactsMax
	Requests int // repair requests under way; at most repair.OutstandingMax
}

// Usage tells how much the node keeps now.
func (n *Node) Usage() Usage {
	u := Usage{
		Held: len(n.held), Wanted: len(n.wanting), Contacts: n.contacts.Len(), Requests: n.planner.Outstanding(),
	}
	u.Keys, u.Sets = n.collector.Usage()
	for _, sets := range n.waiting {
		u.Waiting += len(sets)
	}
	for _, refs := range n.unchecked {
		u.Unjudged += len(refs)
	}
	return u
}

// Step feeds one event to the node and returns its effects, which are
// carried out in order. now never goes back.
func (n *Node) Step(now time.Time, ev Event) []Effect {
	if now.After(n.now) {
		n.now = now
	}
	n.out = nil
	switch ev := ev.(type) {
	case Tick:
	case Submitted:
		n.submitted(ev, false)
	case Received:
		n.received(ev.From, ev.Msg)
	case Met:
		n.met(ev.Peer)
	case Executed:
		n.onExecuted(ev.Result)
	case Loaded:
		n.loaded(ev.Set)
	case Assembled:
		n.assembled(ev)
	case LeaderSetChecked:
		n.leaderSetChecked(ev)
	case UserBlockChecked:
		n.userBlockChecked(ev)
	case SignaturesChecked:
		n.signaturesChecked(ev)
	default:
		panic(fmt.Sprintf("node: event of unknown type %T", ev))
	}
	if n.unsaved != nil {
		n.do(Save{Records: []Record{RestartRecord{n.unsaved}}})
		n.report(Restarted{n.unsaved})
		n.unsaved = nil
	}
	if n.halted != nil {
		n.report(HealthChanged{Health: Halted, Block: n.halted.Block, Own: n.halted.BankHash, Cause: n.halted.Cause})
		n.halted = nil
	}
	if n.agreement.Disputed() {
		n.agree() // at once, before anything is made or sent
	}
	n.propose()
	n.lead()
	n.vote()
	n.execute()
	n.chores()
	return n.out
}

// Wake returns when the node next wants a Tick if nothing happens before.
func (n *Node) Wake() time.Time {
	wake := n.nextRepair
	if n.nextGossip.Before(wake) {
		wake = n.nextGossip
	}
	if tick := n.nextTick(); tick.Before(wake) {
		wake = tick
	}
	return wake
}

func (n *Node) do(e Effect)   { n.out = append(n.out, e) }
func (n *Node) report(of any) { n.do(Report{Of: of}) }

// due returns when a tick may begin (PROTOCOL section 1).
func (n *Node) due(tick uint64) time.Time {
	t0, _ := n.start()
	return time.Unix(0, n.params.TickTime(t0, tick))
}

// tick returns the number of the tick that has begun last; before the start
// the one before it, and 0 before genesis' T0.
func (n *Node) tick() uint64 {
	t0, first := n.start()
	if !n.started() {
		return max(first, 1) - 1
	}
	since := n.now.UnixNano() - t0
	if planted.Is(planted.TickEarly) {
		since += int64(n.params.TickDuration)
	}
	return uint64(since / int64(n.params.TickDuration))
}

// started tells whether the first tick since genesis or the newest restart is
// due.
func (n *Node) started() bool {
	_, first := n.start()
	return !n.now.Before(n.due(first))
}

// slot returns the slot of the running tick.
func (n *Node) slot() ledger.Slot { return ledger.Slot(n.tick() / ledger.TicksPerSlot) }

func (n *Node) drop(what, reason string, from ledger.Pubkey) {
	n.report(Dropped{What: what, Reason: reason, From: from})
}

// received takes a message from a peer. Nothing that a peer sends may stop
// the node.
func (n *Node) received(from ledger.Pubkey, m Message) {
	switch m := m.(type) {
	case ShredMessage:
		n.onShred(from, m, false)
	case VoteMessage:
		n.onVote(from, m)
	case TransactionMessage:
		n.submitted(Submitted{Tx: m.Tx}, true)
	case RepairRequest:
		n.onRepairRequest(from, m)
	case RepairResponse:
		n.onRepairResponse(from, m)
	case GossipMessage:
		n.onGossip(from, m)
	case EvidenceMessage:
		n.onEvidence(from, m)
	case ReportMessage:
		n.onReport(from, m)
	case LinksRequest:
		n.onLinksRequest(from, m)
	case LinksResponse:
		n.onLinksResponse(from, m)
	}
}
