// Unpacks with Go's standard library. Reads lines `mode TAB archive TAB folder`, answers each.
package main

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const most = 64 << 20

var number int

func save(r io.Reader, folder string) error {
	number++
	out, err := os.Create(filepath.Join(folder, fmt.Sprint(number)))
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, io.LimitReader(r, most))
	return err
}

func untar(r io.Reader, folder string) error {
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if header.FileInfo().Mode().IsRegular() {
			if err := save(archive, folder); err != nil {
				return err
			}
		}
	}
}

func unzip(path, folder string) error {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return err
	}
	defer archive.Close()
	var first error
	for _, file := range archive.File {
		if file.FileInfo().IsDir() {
			continue
		}
		content, err := file.Open()
		if err == nil {
			err = save(content, folder)
			content.Close()
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}

func run(line string) (err error) {
	defer func() {
		if trouble := recover(); trouble != nil {
			err = fmt.Errorf("panic: %v", trouble)
		}
	}()
	words := strings.Split(line, "\t")
	mode, path, folder := words[0], words[1], words[2]
	if mode == "zip" {
		return unzip(path, folder)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if mode == "tar" {
		return untar(bufio.NewReader(file), folder)
	}
	unpacked, err := gzip.NewReader(bufio.NewReader(file))
	if err != nil {
		return err
	}
	return untar(unpacked, folder)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer := "ok"
		if err := run(lines.Text()); err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(answer)
	}
}
