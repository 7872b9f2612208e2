package rpc

import (
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/dns"
	"google.golang.org/grpc/resolver/manual"
)

func init() {
	// A name is looked up again when a connection is lost. gRPC's own 30 s would be a long time without the replica that took its place.
	dns.SetMinResolutionInterval(time.Second)
}

// listScheme is of targets that are a list of replicas.
const listScheme = "replicas"

// parseTarget tells what to dial. A list of host:port, separated by commas, is of replicas; all else is gRPC's to understand.
func parseTarget(target string) (string, []grpc.DialOption, error) {
	if strings.Contains(target, "://") || !strings.Contains(target, ",") {
		return target, nil, nil
	}
	var state resolver.State
	for addr := range strings.SplitSeq(target, ",") {
		addr = strings.TrimSpace(addr)
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return "", nil, fmt.Errorf("replica %q is no host:port: %w", addr, err)
		}
		state.Addresses = append(state.Addresses, resolver.Address{Addr: addr})
	}
	list := manual.NewBuilderWithScheme(listScheme)
	list.InitialState(state)
	return listScheme + ":///" + listScheme, []grpc.DialOption{grpc.WithResolvers(list)}, nil
}
