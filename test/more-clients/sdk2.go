// The AWS SDK for Go 2: one instance from its launch to its end.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

const patience = 2 * time.Minute

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func code(err error) string {
	var refused smithy.APIError
	if errors.As(err, &refused) {
		return refused.ErrorCode()
	}
	return fmt.Sprint(err)
}

func main() {
	fmt.Println("version", aws.SDKVersion)
	ctx := context.Background()
	settings, err := config.LoadDefaultConfig(ctx)
	must(err)
	client := ec2.NewFromConfig(settings, ec2.WithEndpointResolver(ec2.EndpointResolverFromURL(os.Getenv("ENDPOINT"))))

	images, err := client.DescribeImages(ctx, &ec2.DescribeImagesInput{Filters: []types.Filter{{Name: aws.String("name"), Values: []string{"nimbus-guest"}}}})
	must(err)
	_, err = client.CreateKeyPair(ctx, &ec2.CreateKeyPairInput{KeyName: aws.String("go2"), KeyType: types.KeyTypeRsa})
	must(err)
	made, err := client.RunInstances(ctx, &ec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, InstanceType: types.InstanceTypeM1Small, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), KeyName: aws.String("go2"),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("go é 2")}}}},
	})
	must(err)
	ids := []string{*made.Instances[0].InstanceId}
	which := &ec2.DescribeInstancesInput{InstanceIds: ids}
	must(ec2.NewInstanceRunningWaiter(client).Wait(ctx, which, patience))
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("tag:Name"), Values: []string{"go ? 2*"}}}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		must(err)
		for _, reservation := range page.Reservations {
			fmt.Println("found", *reservation.Instances[0].InstanceId == ids[0], reservation.Instances[0].State.Name)
		}
	}
	_, err = client.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
	must(err)
	must(ec2.NewInstanceTerminatedWaiter(client).Wait(ctx, which, patience))
	_, err = client.CreateKeyPair(ctx, &ec2.CreateKeyPairInput{KeyName: aws.String("go2")})
	fmt.Println("refused", code(err))
	_, err = client.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: images.Images[0].ImageId, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), DryRun: aws.Bool(true)})
	fmt.Println("refused", code(err))
	fmt.Println("ended", ids[0])
}
