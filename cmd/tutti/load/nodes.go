package load

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// NodesFile is the file in a devnet's directory that says where its nodes
// are while it runs.
const NodesFile = "nodes.json"

// nodesMax bounds the size of a NodesFile.
const nodesMax = 1 << 20

// Node says where a node can be reached.
type Node struct {
	Name string         `json:"name"`
	QUIC netip.AddrPort `json:"quic"` // for transactions
	RPC  string         `json:"rpc"`  // URL of its JSON-RPC
	// Socket is the path of its admin socket: in the file as seen from the
	// file's directory.
	Socket string `json:"socket"`
}

// WriteNodes writes the NodesFile of a devnet's directory.
func WriteNodes(dir string, nodes []Node) error {
	list := make([]Node, len(nodes))
	for i, n := range nodes {
		var err error
		if n.Socket, err = filepath.Rel(dir, n.Socket); err != nil {
			return fmt.Errorf("write %s: %w", NodesFile, err)
		}
		list[i] = n
	}
	b, err := json.MarshalIndent(list, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, NodesFile), append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", NodesFile, err)
	}
	return nil
}

// ReadNodes reads the NodesFile of a devnet's directory.
func ReadNodes(dir string) ([]Node, error) {
	path := filepath.Join(dir, NodesFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("no devnet runs in %s: %w", dir, err)
	}
	var nodes []Node
	if len(b) > nodesMax || json.Unmarshal(b, &nodes) != nil || len(nodes) == 0 {
		return nil, fmt.Errorf("%s is no list of nodes", path)
	}
	for i := range nodes {
		nodes[i].Socket = filepath.Join(dir, nodes[i].Socket)
	}
	return nodes, nil
}
