package core

// NoteKind is what a Note tells.
type NoteKind uint8

// The kinds of notes.
const (
	NoteJoined     NoteKind = iota // a member appeared
	NoteLeft                       // a member left by its own will
	NoteFailed                     // a member vanished
	NoteUpdated                    // a member changed its address or meta data
	NoteConflict                   // another member has this node's name
	NoteAttached                   // for the first time
	NoteReattached                 // again
	NoteDetached                   // Text says why
	NoteDeaf                       // own heartbeats were not heard; the driver is opened again
	NoteIsolated                   // detached for longer than grace; Count members were given up
	NoteStoodStill                 // the process did not run for Took
	NoteCaughtUp                   // what came meanwhile is merged, after Took
	NoteDisputed                   // Text says whose views disagree
	NoteAgreed                     // they agree again
	NoteReady                      // all states are; Text says how
	NoteTimedOut                   // the limit passed; Text names the states
	NoteGap                        // Count updates of Member for Key are missing
	NoteLost                       // Count updates of Member for Key are given up; a comparison may still bring them
	NoteAskedAgain                 // Count updates of Member for Key are asked of their origin
	NoteSentAgain                  // Count updates of Key are sent again
	NoteExchange                   // a pull was sent to Member; Text is the reason
	NoteAnswered                   // a pull of Member was answered with Count bytes
	NoteRefused                    // a Merge of Key failed: of an update of Member, or of what it gave
	NoteEcho                       // own heartbeat was heard after Took
	NoteRaised                     // this node raised its incarnation; Text says why
	NoteRejected                   // a message of Member was not believed; Text is the reason
	NoteLimited                    // a budget stopped something; Text names the budget
)

// NoteReasons are the texts of NoteExchange.
var NoteReasons = []string{"join", "reattach", "add_state", "gap", "joined", "periodic"}
