// Command check lints what is deployed: the manifests of deploy/kubernetes, and
// those that the Helm chart renders with several values. Each must decode
// strictly into the type that it names, and keep the rules of rules.go. It is a
// module of its own, so that the product does not depend on Kubernetes' types.
//
//	go run . DEPLOY-DIRECTORY
package main
