import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/** Java's own producer as it comes: lines of key, tab, value in; lines of key, partition, offset out. */
final class Producing {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        StringSerializer strings = new StringSerializer();
        BufferedReader lines =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(properties, strings, strings)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] record = line.split("\t", 2);
                RecordMetadata stands =
                        producer.send(new ProducerRecord<>(arguments[1], record[0], record[1])).get();
                System.out.println(record[0] + "\t" + stands.partition() + "\t" + stands.offset());
            }
        }
    }
}
