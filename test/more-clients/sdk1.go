// The AWS SDK for Go 1, which Terraform, packer and the tools of Kubernetes were made with: one instance from its launch to its end.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/awserr"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/ec2"
	"github.com/aws/aws-sdk-go/service/sts"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func code(err error) string {
	if refused, ok := err.(awserr.Error); ok {
		return refused.Code()
	}
	return fmt.Sprint(err)
}

func main() {
	fmt.Println("version", aws.SDKVersion)
	config := session.Must(session.NewSession(&aws.Config{Endpoint: aws.String(os.Getenv("ENDPOINT")), MaxRetries: aws.Int(0)}))
	client := ec2.New(config)
	who, err := sts.New(config).GetCallerIdentity(&sts.GetCallerIdentityInput{})
	must(err)
	fmt.Println("caller", *who.Arn)

	images, err := client.DescribeImages(&ec2.DescribeImagesInput{Filters: []*ec2.Filter{{Name: aws.String("name"), Values: aws.StringSlice([]string{"nimbus-guest"})}}})
	must(err)
	_, err = client.CreateKeyPair(&ec2.CreateKeyPairInput{KeyName: aws.String("go1"), KeyType: aws.String("ed25519")})
	must(err)
	made, err := client.RunInstances(&ec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, InstanceType: aws.String("m1.small"), MinCount: aws.Int64(1), MaxCount: aws.Int64(1), KeyName: aws.String("go1"),
		TagSpecifications: []*ec2.TagSpecification{{ResourceType: aws.String("instance"), Tags: []*ec2.Tag{{Key: aws.String("Name"), Value: aws.String("go é 1")}}}},
	})
	must(err)
	which := &ec2.DescribeInstancesInput{InstanceIds: []*string{made.Instances[0].InstanceId}}
	must(client.WaitUntilInstanceRunning(which))
	must(client.WaitUntilInstanceStatusOk(&ec2.DescribeInstanceStatusInput{InstanceIds: which.InstanceIds}))
	must(client.DescribeInstancesPages(&ec2.DescribeInstancesInput{Filters: []*ec2.Filter{{Name: aws.String("tag:Name"), Values: aws.StringSlice([]string{"go ? 1*"})}}},
		func(page *ec2.DescribeInstancesOutput, last bool) bool {
			for _, reservation := range page.Reservations {
				fmt.Println("found", *reservation.Instances[0].InstanceId == *which.InstanceIds[0], *reservation.Instances[0].State.Name)
			}
			return true
		}))
	_, err = client.StopInstances(&ec2.StopInstancesInput{InstanceIds: which.InstanceIds, Force: aws.Bool(true)})
	must(err)
	must(client.WaitUntilInstanceStopped(which))
	_, err = client.TerminateInstances(&ec2.TerminateInstancesInput{InstanceIds: which.InstanceIds})
	must(err)
	must(client.WaitUntilInstanceTerminated(which))
	_, err = client.CreateKeyPair(&ec2.CreateKeyPairInput{KeyName: aws.String("go1")})
	fmt.Println("refused", code(err))
	_, err = client.RunInstances(&ec2.RunInstancesInput{ImageId: images.Images[0].ImageId, MinCount: aws.Int64(1), MaxCount: aws.Int64(1), DryRun: aws.Bool(true)})
	fmt.Println("refused", code(err))
	fmt.Println("ended", *which.InstanceIds[0])
}
