// Package reliability holds the stories of what goes wrong with local state and
// with topics, each under the name that the project's list of promises has for it. The
// random ones run the engine with compiled pipelines on the log in memory, many
// seeds each; where the claim is about the process or the disk, the real binary
// runs on the embedded broker.
package reliability
