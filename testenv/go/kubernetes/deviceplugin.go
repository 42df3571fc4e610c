package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// plugin advertises devices that are not there. What a container that is given some finds is up to the CDI specification of KIND.
type plugin struct {
	api.UnimplementedDevicePluginServer
	kind    string
	devices []*api.Device
}

// devicePlugin RESOURCE COUNT KIND serves kubelet's device plugin API: COUNT devices of the extended resource RESOURCE, gpu-0 and
// so on, each handed to containers as CDI device KIND=gpu-N.
func devicePlugin(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: gpu-device-plugin RESOURCE COUNT KIND")
	}
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	served := &plugin{kind: args[2]}
	for number := range count {
		served.devices = append(served.devices, &api.Device{ID: fmt.Sprintf("gpu-%d", number), Health: api.Healthy})
	}
	endpoint := "seatrial-gpu.sock"
	socket := filepath.Join(api.DevicePluginPath, endpoint)
	if err := os.RemoveAll(socket); err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, served)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if err := register(endpoint, args[0]); err != nil {
		return err
	}
	return <-ended
}

// register tells kubelet about the plugin; one that is still starting is waited for.
func register(endpoint, resource string) error {
	connection, err := grpc.NewClient("unix://"+api.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: endpoint, ResourceName: resource}
	for {
		_, err = api.NewRegistrationClient(connection).Register(ctx, request, grpc.WaitForReady(true))
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	if err := stream.Send(&api.ListAndWatchResponse{Devices: p.devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	answer := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		given := &api.ContainerAllocateResponse{Envs: map[string]string{"SEATRIAL_SIMULATED_GPUS": strings.Join(container.DevicesIds, ",")}}
		for _, id := range container.DevicesIds {
			given.CdiDevices = append(given.CdiDevices, &api.CDIDevice{Name: p.kind + "=" + id})
		}
		answer.ContainerResponses = append(answer.ContainerResponses, given)
	}
	return answer, nil
}
