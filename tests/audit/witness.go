// A witness and monitor of a Touchgate log that shares no code with it: golang.org/x/mod/sumdb reads the export,
// the notes and the proofs.
//
//	witness check  FOLDER KEY                 whole log: every entry, every tile; prints size and root
//	witness proof  FILE KEY                   what `touchgate audit prove` wrote; prints the entry
//	witness grown  FOLDER KEY OLDNOTE FILE    the proof in FILE leads from the old note to the folder's checkpoint
//	witness cosign FOLDER KEY OLDNOTE NAME SEED TIME   as grown, by tiles alone; prints key and cosigned note
//	witness follow FOLDER KEY NAME SEED       the same for each new checkpoint, into FOLDER/cosigned, until it is ended
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func refuse(format string, args ...interface{}) { must(fmt.Errorf(format, args...)) }

// Tiles of height 8 in a folder, by C2SP's names: Go's without the height.
type tiles struct{ folder string }

func (t tiles) Height() int                     { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) name(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
}
func (t tiles) ReadTiles(of []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range of {
		data, err := os.ReadFile(filepath.Join(t.folder, t.name(tile)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func open(signed []byte, key string) (tlog.Tree, *note.Note) {
	verifier, err := note.NewVerifier(key)
	must(err)
	opened, err := note.Open(signed, note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		refuse("not three lines of %s: %q", verifier.Name(), opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := tlog.ParseHash(lines[2])
	must(err)
	return tlog.Tree{N: size, Hash: root}, opened
}

func checkpoint(folder, key string) (tlog.Tree, []byte) {
	signed, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	must(err)
	tree, _ := open(signed, key)
	return tree, signed
}

func check(folder, key string) {
	tree, _ := checkpoint(folder, key)
	reader := tlog.TileHashReader(tree, tiles{folder})
	root, err := tlog.TreeHash(tree.N, reader)
	must(err)
	if root != tree.Hash {
		refuse("the tiles have the root %v, signed is %v", root, tree.Hash)
	}
	for at := int64(0); at < tree.N; at += 256 {
		width := tree.N - at
		if width > 256 {
			width = 256
		}
		name := strings.Replace(tlog.Tile{H: 8, L: -1, N: at / 256, W: int(width)}.Path(), "tile/8/data/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(folder, name))
		must(err)
		for index := at; index < at+width; index++ {
			length := int(binary.BigEndian.Uint16(data))
			entry := data[2 : 2+length]
			data = data[2+length:]
			proof, err := tlog.ProveRecord(tree.N, index, reader)
			must(err)
			must(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)))
		}
		if len(data) != 0 {
			refuse("%s: %d bytes too many", name, len(data))
		}
	}
	fmt.Printf("%d %v\n", tree.N, tree.Hash)
}

func hashes(texts []string) []tlog.Hash {
	var all []tlog.Hash
	for _, text := range texts {
		var hash tlog.Hash
		bytes, err := hex.DecodeString(strings.TrimPrefix(text, "sha256:"))
		must(err)
		copy(hash[:], bytes)
		all = append(all, hash)
	}
	return all
}

func proof(file, key string) {
	var read struct {
		Index      int64
		Entry      string
		Proof      []string
		Checkpoint string
	}
	text, err := os.ReadFile(file)
	must(err)
	must(json.Unmarshal(text, &read))
	tree, _ := open([]byte(read.Checkpoint), key)
	must(tlog.CheckRecord(hashes(read.Proof), tree.N, tree.Hash, read.Index, tlog.RecordHash([]byte(read.Entry))))
	fmt.Println(read.Entry)
}

func grown(folder, key, old, file string) {
	tree, _ := checkpoint(folder, key)
	signed, err := os.ReadFile(old)
	must(err)
	before, _ := open(signed, key)
	var texts []string
	text, err := os.ReadFile(file)
	must(err)
	must(json.Unmarshal(text, &texts))
	must(tlog.CheckTree(hashes(texts), tree.N, tree.Hash, before.N, before.Hash))
	fmt.Printf("%d to %d\n", before.N, tree.N)
}

func proveGrown(folder string, before, tree tlog.Tree) {
	path, err := tlog.ProveTree(tree.N, before.N, tlog.TileHashReader(tree, tiles{folder}))
	must(err)
	must(tlog.CheckTree(path, tree.N, tree.Hash, before.N, before.Hash))
}

// The number and the line of a witness's key, and a note with its cosignature.
func cosigned(signed []byte, key, name, seed string, at uint64) (string, string, string) {
	bytes, err := hex.DecodeString(seed)
	must(err)
	private := ed25519.NewKeyFromSeed(bytes)
	public := append([]byte{4}, private.Public().(ed25519.PublicKey)...)
	id := sha256.Sum256(append([]byte(name+"\n"), public...))
	_, opened := open(signed, key)
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, opened.Text)
	signature := binary.BigEndian.AppendUint64(append([]byte{}, id[:4]...), at)
	signature = append(signature, ed25519.Sign(private, []byte(message))...)
	line := fmt.Sprintf("%s+%x+%s", name, id[:4], base64.StdEncoding.EncodeToString(public))
	note := fmt.Sprintf("%s— %s %s\n", signed, name, base64.StdEncoding.EncodeToString(signature))
	return fmt.Sprintf("%x", id[:4]), line, note
}

func cosign(folder, key, old, name, seed, seconds string) {
	tree, signed := checkpoint(folder, key)
	noted, err := os.ReadFile(old)
	must(err)
	before, _ := open(noted, key)
	proveGrown(folder, before, tree)
	at, err := strconv.ParseUint(seconds, 10, 63)
	must(err)
	_, line, note := cosigned(signed, key, name, seed, at)
	fmt.Printf("%s\n%s", line, note)
}

func follow(folder, key, name, seed string) {
	var before tlog.Tree
	for ; ; time.Sleep(50 * time.Millisecond) {
		tree, signed := checkpoint(folder, key)
		if tree == before {
			continue
		}
		// An empty tree is everybody's beginning.
		if before.N > 0 {
			proveGrown(folder, before, tree)
		}
		number, _, note := cosigned(signed, key, name, seed, uint64(time.Now().Unix()))
		place := filepath.Join(folder, "cosigned", number)
		must(os.WriteFile(place+".new", []byte(note), 0o644))
		must(os.Rename(place+".new", place))
		before = tree
	}
}

func main() {
	args := append(os.Args[1:], make([]string, 8)...)
	switch args[0] {
	case "check":
		check(args[1], args[2])
	case "proof":
		proof(args[1], args[2])
	case "grown":
		grown(args[1], args[2], args[3], args[4])
	case "cosign":
		cosign(args[1], args[2], args[3], args[4], args[5], args[6])
	case "follow":
		follow(args[1], args[2], args[3], args[4])
	default:
		refuse("unknown: %q", args[0])
	}
}
