// Command check lints what is deployed: the manifests of deploy/kubernetes, and
// those that the Helm chart renders with several values, and the alerts. Each
// manifest must decode strictly into the type that it names, and keep the rules
// of rules.go; each alert must be one, with an expression that parses. It is a
// module of its own, so that the product does not depend on Kubernetes' types.
//
//	go run . DEPLOY-DIRECTORY
package main
