/** The calls that only 2010-08-31 has: tags and filters. */
import com.amazonaws.ec2.doc.DOC.*;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

public class Ec2Tags extends Ec2 {
  public Ec2Tags(AmazonEC2PortType port) {
    super(port);
  }

  public static void main(String[] args) throws Exception {
    new Ec2Tags(connect(args)).serve();
  }

  @Override
  protected Stream<String> call(String name, List<String> words) throws Exception {
    switch (name) {
      case "tag": {
        CreateTagsTypeResourcesSetItem[] resources = { new CreateTagsTypeResourcesSetItem(words.get(0)) };
        port.createTags(new CreateTagsType(resources, new CreateTagsTypeTagSetItem[] { new CreateTagsTypeTagSetItem("Name", words.get(1)) }));
        DescribeTagsTypeFilterSetItem[] filters = { tagFilter("key", "Name"), tagFilter("value", words.get(1)) };
        return Arrays.stream(port.describeTags(new DescribeTagsType(filters)).getTagSet()).map((t) -> t.getResourceId());
      }
      case "find": {
        DescribeInstancesType request = new DescribeInstancesType();
        request.setInstancesSet(new DescribeInstancesTypeInstancesSetItem[0]);
        DescribeInstancesTypeFilterSetItemValueSetItem[] values = { new DescribeInstancesTypeFilterSetItemValueSetItem(words.get(0)) };
        request.setFilterSet(new DescribeInstancesTypeFilterSetItem[] { new DescribeInstancesTypeFilterSetItem("tag:Name", values) });
        return instances(request).map((i) -> i.getInstanceId());
      }
      case "way in":
        return instances(words).flatMap((i) -> Stream.of(i.getIpAddress(), Arrays.stream(i.getTagSet()).filter((t) -> t.getKey().equals("nimbus:ssh")).findFirst().get().getValue()));
      default:
        return super.call(name, words);
    }
  }

  private static DescribeTagsTypeFilterSetItem tagFilter(String name, String value) {
    return new DescribeTagsTypeFilterSetItem(name, new DescribeTagsTypeFilterSetItemValueSetItem[] { new DescribeTagsTypeFilterSetItemValueSetItem(value) });
  }
}
